#!/usr/bin/env bash
# Builds the operator, runs it on a cluster of this machine, and has it serve a page.
# CORACLE_NAME chooses the cluster; the default is the one of `make up`. Needs Debian's busybox-static.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
bin=${BIN:-$root/bin}
name=${CORACLE_NAME:-coracle}
out=${OUT:-$root/.cache/operator}
export CORACLE_NAME=$name
kubectl() { "$bin/coracle" kubectl "$@"; }

mkdir -p "$out"/{operator,busybox/bin}
(cd "$root" && CGO_ENABLED=0 go build -ldflags '-s -w' -o "$out/operator/manager" ./examples/operator/cmd/website-operator)
cp -f /bin/busybox "$out/busybox/bin/busybox"
"$bin/mkimage" --output "$out/operator.tar" --entrypoint /manager website-operator:1 -- "$out/operator"
"$bin/mkimage" --output "$out/busybox.tar" --env PATH=/bin busybox:1.35 -- "$out/busybox"
"$bin/coracle" image import --name "$name" "$out"/{operator,busybox}.tar

kubectl apply -k "$here/config"
kubectl wait --for=condition=Established crd/websites.examples.coracle.dev --timeout=60s
kubectl -n website-operator rollout status deployment website-operator --timeout=120s
kubectl apply -f "$here/config/samples/website.yaml"
kubectl wait --for=condition=Ready website/hello --timeout=120s
kubectl get website,deployment,service,pods
echo
kubectl exec deploy/hello -- busybox wget -qO- http://hello
