#!/usr/bin/env bash
# Prints the version: given, or of the last tag, with the commit if that is another one.
set -euo pipefail
cd "$(git -C "$(dirname "${BASH_SOURCE[0]}")" rev-parse --show-toplevel)"
if [[ -n ${CODER_FORCE_VERSION:-} ]]; then
	echo "$CODER_FORCE_VERSION"
	exit 0
fi
last=$(git tag --sort=version:refname | tail -n 1)
if [[ -z $last ]]; then
	echo "INFO: no tags here; the default version is used" >&2
	last=v2.0.0
fi
version=$last
if [[ -z $(git tag --points-at HEAD) ]]; then
	version+="-devel+$(git rev-parse --short HEAD)"
fi
echo "${version#v}"
