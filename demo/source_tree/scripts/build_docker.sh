#!/usr/bin/env bash
# build_docker.sh --arch amd64 --version V --target IMAGE path/to/binary
# Prints the image's name. Without a docker daemon it writes an OCI layout into $LAYOUT instead.
set -euo pipefail
arch='' version='' target=''
while (($#)); do
	case $1 in
	--arch | --version | --target)
		printf -v "${1#--}" %s "$2"
		shift 2
		;;
	*) break ;;
	esac
done
[[ -n $arch && -n $version && -n $target && $# == 1 ]] || {
	echo "ERROR: build_docker.sh --arch A --version V --target IMAGE FILE" >&2
	exit 1
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
install -m 755 "$1" "$scratch/server.py"
cp -R coderd/database/migrations "$scratch/migrations"
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
printf '{"version": "%s", "revision": "%s", "fault": null, "seconds": 0.0}\n' \
	"$version" "$revision" >"$scratch/release.json"
if docker info >/dev/null 2>&1; then
	echo "docker builds the image" >&2
	docker build --platform "linux/$arch" --tag "$target" --label "org.opencontainers.image.version=$version" \
		--build-arg "BASE_IMAGE=${CODER_BASE_IMAGE_TAG:-python:3.13-alpine}" --file scripts/Dockerfile "$scratch" >&2
else
	echo "no docker daemon here: the image is written as an OCI layout" >&2
	python3 scripts/oci_layout.py "$scratch" "$arch" "$LAYOUT" >&2
fi
echo "$target"
