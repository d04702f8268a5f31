#!/usr/bin/env bash
# Builds the images of the two-tier web application from Debian packages, since the originals are
# on a registry that need not be reachable: mysql, kubeguide/tomcat-app:v1 and :v2.
# Leaves one archive each in the folder given (default .cache/two-tier below the project), and
# builds only what is missing or older than its sources. Needs root, and mmdebstrap.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
project=$(cd "$here/../.." && pwd)
out=$(realpath -m "${1:-$project/.cache/two-tier}")
mkdir -p "$out"

suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
sources=() # where this machine itself gets the distribution's packages from
for file in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do
	[ -s "$file" ] && sources+=("$file")
done

# rootfs NAME PACKAGES [MMDEBSTRAP OPTIONS...] makes $out/NAME.rootfs.tar
rootfs() {
	local name=$1 packages=$2 tar=$out/$1.rootfs.tar
	shift 2
	[ "$tar" -nt "$here/build.sh" ] && return
	echo "building the root file system of $name from $packages" >&2
	mmdebstrap --quiet --format=tar --variant=minbase --include="$packages" \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
		"$@" "$suite" "$tar.tmp" "${sources[@]}" >&2
	mv "$tar.tmp" "$tar"
}

# image NAME ARCHIVE LAYER... -- MKIMAGE OPTIONS... makes $out/ARCHIVE
image() {
	local name=$1 archive=$out/$2 layer layers=() stale=
	shift 2
	while [ "$1" != -- ]; do
		layers+=("$1")
		[ "$archive" -nt "$1" ] && [ -z "$(find "$1" -newer "$archive" -print -quit)" ] || stale=yes
		shift
	done
	shift
	[ -z "$stale" ] && return
	echo "building image $name" >&2
	"$project/bin/mkimage" "$@" --output "$archive.tmp" "$name" -- "${layers[@]}"
	mv "$archive.tmp" "$archive"
}

# The package makes a data directory with rights of its own; the container is to make one of its own.
rootfs mysql mariadb-server --customize-hook='rm -rf "$1"/var/lib/mysql/*'
image docker.io/library/mysql:latest mysql.tar "$out/mysql.rootfs.tar" "$here/mysql" -- \
	--entrypoint /entrypoint.sh --cmd mariadbd --expose 3306/tcp
# tomcat10 runs on Java; its recommended packages are not needed for a server without a screen.
rootfs tomcat tomcat10,openjdk-17-jre-headless,libmariadb-java --aptopt='APT::Install-Recommends "false"'
for version in v1 v2; do
	image "docker.io/kubeguide/tomcat-app:$version" "tomcat-app-$version.tar" "$out/tomcat.rootfs.tar" "$here/tomcat-app" -- \
		--entrypoint /entrypoint.sh --env "APP_VERSION=$version" --expose 8080/tcp
done
