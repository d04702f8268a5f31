#!/usr/bin/env bash
# Builds the OpenAPI documents that the API server embeds (apiserver/openapi/data): generates the
# definitions of the API types, which stay out of the repository, and writes down what a server that
# has them serves.
set -euo pipefail
cd "$(dirname "$0")/.."

definitions=hack/openapi/definitions
trap 'rm -f "$definitions"/definitions.go' EXIT

header=$(mktemp)
go tool openapi-gen \
	--go-header-file "$header" \
	--output-dir "$definitions" \
	--output-pkg coracle.dev/coracle/hack/openapi/definitions \
	--output-file definitions.go \
	--report-filename /dev/null \
	k8s.io/apimachinery/pkg/api/resource \
	k8s.io/apimachinery/pkg/apis/meta/v1 \
	k8s.io/apimachinery/pkg/runtime \
	k8s.io/apimachinery/pkg/util/intstr \
	k8s.io/apimachinery/pkg/version \
	k8s.io/api/scheduling/v1alpha3 \
	k8s.io/api/{apps/v1beta1,apps/v1beta2,batch/v1beta1,extensions/v1beta1,networking/v1beta1,policy/v1beta1} \
	coracle.dev/coracle/apis/removed/v2beta2 \
	k8s.io/metrics/pkg/apis/metrics/{v1,v1beta1} \
	$(go list k8s.io/api/{admissionregistration,apps,authentication,authorization,autoscaling,batch,certificates,coordination,core,discovery,events,flowcontrol,networking,node,policy,rbac,resource,scheduling,storage}/v1 k8s.io/api/autoscaling/v2)
rm -f "$header"

go run -tags openapi ./hack/openapi apiserver/openapi/data
