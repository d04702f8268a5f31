#!/usr/bin/env bash
# Makes all generated files anew, with the tools that go.mod pins.
set -euo pipefail
cd "$(dirname "$0")/.."
go tool controller-gen object paths=./apis/simulation/...
go tool controller-gen crd paths=./apis/simulation/... output:crd:dir=config/crd
operator=examples/operator
go tool controller-gen object crd rbac:roleName=website-operator webhook paths=./$operator/... \
	output:crd:dir=$operator/config/crd output:rbac:dir=$operator/config/rbac output:webhook:dir=$operator/config/webhook
hack/openapi.sh
