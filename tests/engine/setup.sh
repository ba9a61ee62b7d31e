#!/usr/bin/env bash
# Set up a Docker Engine with Compose, kubectl if it is missing, and stand-ins for the base images, on a bare
# Debian 12 without an image registry.
#
#   eval "$(tests/engine/setup.sh)"     then `docker` and `docker compose` work in this shell
#   tests/engine/stop.sh                stops the engine; images and volumes stay
#
# Everything is under /var/cache/deal-scout-engine (or $DEAL_SCOUT_ENGINE), and is reused. Progress goes to stderr, the
# variables to stdout.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$here/common.sh"

# The host's release, whose packages the images use, and the next one, which has engine 26.1 instead of 20.10
# (`start_interval` in a health check needs 25). Its programs run with this release's libc.
release=bookworm
next=trixie

# Folder under images/, and the tag of the real image in the Dockerfiles and the Compose file.
images=(
    "postgres postgres:17"
    "redis redis:7"
    "python python:3.11-slim"
    "nginx nginxinc/nginx-unprivileged:1.27"
)

# runc and tini come from the host's release: those of the next one need its libc.
packages=(runc tini iptables iproute2 netcat-openbsd mmdebstrap ca-certificates)

# Label of an image: a hash of the files that it was built from.
label=deal-scout.made-from

export DOCKER_CONFIG=$cache/config PATH=$cache/bin:$PATH:/usr/sbin:/sbin

# Run a command with its output in the log $1, and print the end of the log if it fails.
logged() {
    local log=$cache/log/$1.log
    shift
    "$@" >"$log" 2>&1 || {
        tail -n 40 "$log" >&2
        die "failed: $* (log in $log)"
    }
}

install_packages() {
    local missing=() package
    for package in "${packages[@]}"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) = installed ]] || missing+=("$package")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    say "installing ${missing[*]}"
    logged packages install "${missing[@]}"
}

install() {
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300)
    # The package lists may be missing or out of date.
    "${apt[@]}" install --no-install-recommends "$@" ||
        { "${apt[@]}" update && "${apt[@]}" install --no-install-recommends "$@"; }
}

# Print this machine's sources for its release as lines of a source list, whatever their file and format.
sources() {
    # shellcheck disable=SC2016  # the variables are apt's
    apt-get indextargets --format 'deb $(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' |
        sed -nE "/^deb [^ ]+ $release(-[a-z]+)? main$/p" | sort -u
}

# Print the source of the next release, on the same server.
next_source() {
    sources | sed -n "s|^\(deb [^ ]*\) $release main\$|\1 $next main|p" | head -n 1
}

# apt knows the origin of a source only after it has fetched its lists.
fetch_sources() {
    [[ -z $(next_source) ]] || return 0
    logged update apt-get update
    [[ -n $(next_source) ]] || die "apt has no source for Debian $release; check /etc/apt/sources.list*"
}

download_engine() {
    local folder=$cache/apt also=()
    command -v kubectl >/dev/null || also=(kubectl) # the host's release has one that is too old
    local options=(
        -o "Dir::Etc::sourcelist=$folder/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o "Dir::State::lists=$folder/lists" -o "Dir::Cache=$folder/cache" -o Dir::State::status=/dev/null
        -o APT::Sandbox::User=root # `_apt` has no access to the folder
    )
    say "downloading the engine and its plugins from Debian $next"
    rm -rf "$folder" "$cache/engine.new"
    mkdir -p "$folder"/{lists,cache/archives}/partial "$folder/debs"
    fetch_sources
    next_source >"$folder/sources.list"
    logged lists apt-get "${options[@]}" update
    (cd "$folder/debs" && logged download \
        apt-get "${options[@]}" download docker.io docker-cli docker-buildx docker-compose containerd "${also[@]}")
    local deb
    for deb in "$folder"/debs/*.deb; do
        dpkg -x "$deb" "$cache/engine.new"
    done
    mv -T "$cache/engine.new" "$cache/engine"
    rm -rf "$folder"
}

# Only the client goes on PATH. Its plugins are in a separate configuration folder: ~/.docker stays untouched.
install_client() {
    mkdir -p "$cache/bin" "$DOCKER_CONFIG/cli-plugins"
    ln -sfn "$cache/engine/usr/bin/docker" "$cache/bin/docker"
    [[ ! -x $cache/engine/usr/bin/kubectl ]] || ln -sfn "$cache/engine/usr/bin/kubectl" "$cache/bin/kubectl"
    ln -sfn "$cache"/engine/usr/libexec/docker/cli-plugins/docker-* "$DOCKER_CONFIG/cli-plugins/"
}

answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

start_engine() {
    # Two engines would conflict over the bridge and the iptables chains.
    [[ ! -S /var/run/docker.sock ]] || ! DOCKER_HOST=unix:///var/run/docker.sock answers ||
        die "another engine answers on /var/run/docker.sock; use that one, or stop it first"
    stop_containerd
    remove_stale_files
    echo '{}' >"$run/daemon.json" # instead of /etc/docker/daemon.json
    say "starting dockerd, log in $run/dockerd.log"
    PATH=$cache/engine/usr/sbin:$cache/engine/usr/bin:$PATH setsid dockerd \
        --config-file "$run/daemon.json" --data-root "$cache/data" --exec-root "$run/exec" \
        --pidfile "$run/dockerd.pid" --host "$DOCKER_HOST" --group root --init-path /usr/bin/tini-static \
        </dev/null >"$run/dockerd.log" 2>&1 9>&- &
    local pid=$!
    within 60 eval "answers || ! kill -0 $pid 2>/dev/null" || true
    answers || {
        tail -n 20 "$run/dockerd.log" >&2
        die "dockerd did not start"
    }
}

# Print a hash of all files that go into an image.
source_hash() {
    (cd "$here/images" && find base "$1" -type f -print0 | sort -zu | xargs -0 sha256sum | sha256sum | cut -c 1-16)
}

is_current() { # folder, tag
    [[ $(docker image inspect --format "{{index .Config.Labels \"$label\"}}" "$2" 2>/dev/null) = "$(source_hash "$1")" ]]
}

# Create a minimal Debian image. With the cached archive a new data root takes one second instead of twenty.
make_base() {
    local tag=$1 hash archive
    hash=$(source_hash base)
    archive=$cache/base-$hash.tar
    if [[ ! -f $archive ]]; then
        say "creating a minimal Debian $release"
        sources | logged base sh "$here/images/base/make.sh" "$release" "$archive.new"
        rm -f "$cache"/base-*.tar
        mv "$archive.new" "$archive"
    fi
    logged import docker import --change "LABEL $label=$hash" --change 'ENV LANG=C.UTF-8' --change 'CMD ["bash"]' \
        "$archive" "$tag"
}

build_image() { # folder, tag
    say "building $2"
    logged "$1" docker build --label "$label=$(source_hash "$1")" --build-arg "NEXT_SOURCE=$(next_source)" --tag "$2" \
        "$here/images/$1"
}

make_images() {
    local base=deal-scout-test/base stale=() image jobs=() job failed=0
    for image in "base $base" "${images[@]}"; do
        # shellcheck disable=SC2086  # folder and tag
        is_current $image || stale+=("$image")
    done
    [[ ${#stale[@]} -gt 0 ]] || return 0
    fetch_sources
    if [[ ${stale[0]} = "base $base" ]]; then
        make_base "$base"
        stale=("${stale[@]:1}")
    fi
    for image in "${stale[@]}"; do
        # shellcheck disable=SC2086
        build_image $image &
        jobs+=($!)
    done
    for job in "${jobs[@]}"; do
        wait "$job" || failed=1
    done
    return "$failed"
}

# Print the variables for `eval`. Repeated calls add our folder to PATH only once.
print_variables() {
    printf 'export DOCKER_HOST=%q DOCKER_CONFIG=%q\n' "$DOCKER_HOST" "$DOCKER_CONFIG"
    # shellcheck disable=SC2016  # for the caller's shell to expand
    printf 'case ":$PATH:" in *:%q:*) ;; *) export PATH=%q:"$PATH" ;; esac\n' "$cache/bin" "$cache/bin"
}

main() {
    # shellcheck source=/dev/null
    [[ $(. /etc/os-release && echo "${VERSION_CODENAME:-}") = "$release" ]] || die "made for Debian $release only"
    take_lock
    mkdir -p "$cache/log"
    install_packages
    [[ -d $cache/engine ]] || download_engine
    install_client
    { engine_pid >/dev/null && answers; } || start_engine
    make_images
    say "Docker $(docker version --format '{{.Server.Version}}') with Compose $(docker compose version --short) is ready"
    print_variables
}

main
