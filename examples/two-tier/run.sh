#!/usr/bin/env bash
# Runs the two-tier web application on a cluster of this machine and prints its address.
# CORACLE_NAME chooses the cluster; the default is the one of `make up`.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "$here/../.." && pwd)/bin
name=${CORACLE_NAME:-coracle}
export CORACLE_NAME=$name
kubectl() { "$bin/coracle" kubectl "$@"; }

"$here/build.sh"
"$bin/coracle" image import --name "$name" "${OUT:-$here/../../.cache/two-tier}"/{mysql,tomcat-app-v1,tomcat-app-v2}.tar
for part in mysql-rc mysql-svc myweb-rc myweb-svc; do
	kubectl apply -f "$here/manifests/$part.yaml"
done
kubectl wait --for=condition=Ready pod -l 'app in (mysql,myweb)' --timeout=180s

address=$(kubectl get node -o jsonpath='{.items[0].status.addresses[?(@.type=="InternalIP")].address}')
url=http://$address:30001/demo/
for _ in $(seq 120); do # Tomcat needs some seconds more than its container
	if curl --silent --fail --max-time 5 "$url" >/dev/null; then
		echo
		kubectl get rc,svc,pods
		echo
		echo "The page is at $url"
		exit
	fi
	sleep 0.5
done
echo "the page at $url does not answer" >&2
exit 1
