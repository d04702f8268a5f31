#!/usr/bin/env bash
# Installs the Debian packages that building and running Coracle need, where they are missing.
# Prints nothing and needs no network when all are there.
set -euo pipefail

# gcc, libc6-dev, libseccomp-dev and pkg-config build the helper programs; nftables writes packet
# rules; busybox-static and mmdebstrap make the images of the tests and of the demo.
packages=(gcc libc6-dev libseccomp-dev pkg-config nftables busybox-static mmdebstrap ca-certificates)

missing=()
for package in "${packages[@]}"; do
	status=$(dpkg-query --show --showformat '${db:Status-Abbrev}' "$package" 2>/dev/null || true)
	[ "${status:0:2}" = ii ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ]; then
	echo "missing Debian packages; run as root: apt-get install --yes ${missing[*]}" >&2
	exit 1
fi
echo "installing Debian packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet=2
apt-get install --yes --quiet=2 --no-install-recommends "${missing[@]}" >/dev/null
