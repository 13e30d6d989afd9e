#!/usr/bin/env bash
# Builds an image with whichever builder is there: infra/images/build.sh IMAGE [TAG] [OPTION OF THE BUILDER…]
#   infra/images/build.sh serve 0.1.0 --build-arg BASE=docker.io/library/python@sha256:…
# Where packages come from a mirror, the build alone sees how (nothing of it is in the image):
#   --secret id=pip,src=pip.conf --secret id=uv,src=uv.toml --secret id=ca,src=/etc/ssl/certs/ca-certificates.crt
set -euo pipefail
cd "$(dirname "$0")/../.."

refuse() { echo "error: $1" >&2; exit 2; }

images=$(cd infra/images && printf '%s\n' *.Dockerfile | sed 's/\.Dockerfile$//' | LC_ALL=C sort | tr '\n' ' ')
image=${1:-}
[ -n "$image" ] && [ -f "infra/images/$image.Dockerfile" ] || refuse "no image '$image', expected one of: $images"
shift
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
tag=$version
case ${1:-} in '' | -*) ;; *) tag=$1 && shift ;; esac
[ "$tag" != latest ] || refuse "the tag 'latest' names no version: leave it out for $version, or give another"
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
[ -z "$(git status --porcelain --untracked-files=no 2>/dev/null)" ] || revision=$revision-dirty

if command -v docker >/dev/null && docker buildx version >/dev/null 2>&1; then
    build=(docker buildx build --load)
elif command -v podman >/dev/null; then
    build=(podman build --format docker)
elif command -v buildah >/dev/null; then
    build=(buildah build --format docker)
else
    refuse "no builder found: install docker with buildx, podman or buildah (apt-get install buildah)"
fi
# The format is Docker's because OCI's has no health check.
exec "${build[@]}" --file "infra/images/$image.Dockerfile" --tag "ml-training-deployment/$image:$tag" \
    --build-arg "VERSION=$version" --build-arg "REVISION=$revision" "$@" .
