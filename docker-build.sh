#!/usr/bin/env bash
# Builds the node's image, pgunison-node:VERSION and pgunison-node:latest.
#
# BASE_IMAGE  what it stands on, a Debian, with PostgreSQL 16 or newer or without any; by default what container/Dockerfile names
# PYTHON      the Python with pip that has pgunison, where it is installed; by default .venv's, or python3
# IMAGE       the image's name without a tag; by default pgunison-node
set -euo pipefail
cd "$(dirname "$0")"

IMAGE=${IMAGE:-pgunison-node}
BASE_IMAGE=${BASE_IMAGE:-$(sed -n 's/^ARG BASE_IMAGE=//p' container/Dockerfile)}
VERSION=$(sed -n 's/^version *= *//p' setup.cfg)

main() {
    require_engine
    find_python
    require_base
    context=$(mktemp -d)
    log=$(mktemp)
    trap 'rm -rf "$context" "$log"' EXIT
    copy_code
    install_packages
    build
    size=$(docker image inspect --format '{{.Size}}' "$IMAGE:$VERSION")
    echo "$IMAGE:$VERSION (also $IMAGE:latest), $((size / 1000000)) MB"
}

require_engine() {
    command -v docker >/dev/null || fail "there is no Docker client" "docker is not in PATH" "install Docker, or do without it: make run"
    local said
    said=$(docker version --format '{{.Server.Version}}' 2>&1) && return
    case $said in
        *"permission denied"*)
            fail "this user may not use the Docker engine" "${said//$'\n'/ }" "sudo ./docker-build.sh, or add the user to the group docker" ;;
        *) fail "no Docker engine answers" "${said//$'\n'/ }" "start it, or do without it: make run" ;;
    esac
}

find_python() {
    python=${PYTHON:-python3}
    [ -z "${PYTHON:-}" ] && [ -x .venv/bin/python3 ] && python=.venv/bin/python3
    "$python" -m pip --version >/dev/null 2>&1 || fail "there is no Python with pip" "$python -m pip does not run" "make install"
}

require_base() {
    docker image inspect "$BASE_IMAGE" >/dev/null 2>&1 && return
    docker pull --quiet "$BASE_IMAGE" >/dev/null ||
        fail "the base image cannot be had" "$BASE_IMAGE is not here, and docker pull failed, see above" \
            ".ci/base-image makes one without a registry, then: BASE_IMAGE=pgunison-base:debian ./docker-build.sh"
}

# Only what a node runs: nothing of the host's side, of the tests or of what else lies in this directory.
copy_code() {
    cp container/Dockerfile "$context"
    local package
    for package in container esb_config services; do
        copy "$package" "$package"
    done
    # of the host's side what both sides agree on, and no more; where pgunison is installed, this directory lies in it (pgunison/tree.py)
    local contract=pgunison/contract
    [ -d "$contract" ] || contract=../contract
    copy "$contract" pgunison/contract
    chmod -R u=rwX,go=rX "$context/opt"
}

copy() {
    mkdir -p "$context/opt/pgunison/$2"
    tar -C "$1" -c --exclude=__pycache__ --exclude=Dockerfile --exclude=requirements.txt . | tar -C "$context/opt/pgunison/$2" -x --no-same-owner
}

# Here and not in the image's build, which then needs no network and leaves no pip behind.
install_packages() {
    local packages=$context/opt/pgunison/site-packages
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --target "$packages" --requirement container/requirements.txt ||
        fail "the agent's packages cannot be had" "pip failed, see above" "see that PyPI can be reached"
    rm -rf "$packages/bin"
    local compiled
    compiled=$(find "$packages" -name '*.so' -o -name '*.pyd')
    [ -z "$compiled" ] || fail "a package has compiled parts, which are for this machine's Python" "${compiled//$'\n'/ }" \
        "take it from Debian instead, in container/Dockerfile"
    chmod -R go=rX "$packages"
}

build() {
    # one by one: what fails within a word of a command fails nothing
    local code major
    code=$("$python" -m pgunison.runtime.image) || fail "the code cannot be named" "$python -m pgunison.runtime.image failed, see above" "make install"
    major=$(postgresql_major) ||
        fail "the base image cannot be run" "docker run of $BASE_IMAGE failed, see above" "BASE_IMAGE=... ./docker-build.sh takes another"
    docker build --build-arg BASE_IMAGE="$BASE_IMAGE" --build-arg VERSION="$VERSION" --build-arg CODE="$code" --build-arg POSTGRESQL_MAJOR="$major" \
        --tag "$IMAGE:$VERSION" --tag "$IMAGE:latest" "$context" >"$log" 2>&1 && return
    tail -n 20 "$log" >&2
    fail "the image cannot be built" "docker build failed, the end of what it wrote is above" "mend what it says, then again"
}

# Empty when the base has no PostgreSQL and gets one in the build.
postgresql_major() {
    docker run --rm --network none --entrypoint sh "$BASE_IMAGE" -c 'ls /usr/lib/postgresql 2>/dev/null | sort -n | tail -n 1'
}

fail() {
    printf 'error: %s\ndetail: %s\nhint: %s\n' "$@" >&2
    exit 1
}

main
