# shellcheck shell=bash
# What setup.sh and stop.sh share: where things lie, and how to tell our engine from any other process.

# Root's home may be unset or empty in CI, so the default hangs on no variable.
cache=${DEAL_SCOUT_ENGINE:-/var/cache/deal-scout-engine}
run=$cache/run
export DOCKER_HOST=unix://$run/docker.sock

say() { printf '%s\n' "engine: $*" >&2; }

die() {
    say "$*"
    exit 1
}

# One set-up or stop at a time. Programs started under the lock that outlive the script must close descriptor 9.
take_lock() {
    [[ $(id -u) -eq 0 ]] || die "needs root"
    [[ $cache = /* ]] || die "DEAL_SCOUT_ENGINE must be an absolute path, not '$cache'"
    mkdir -p "$run"
    exec 9>"$cache/lock"
    flock --wait 900 9 || die "another setup.sh or stop.sh has held $cache/lock for 15 minutes"
}

# Whether the process $1 runs, with $2 as one of its arguments.
has_argument() { { tr '\0' '\n' <"/proc/$1/cmdline" | grep -xF -- "$2"; } >/dev/null 2>&1; }

# Print the id in the pid file $1 if that process has the argument $2. Ids are used again, and the cache may come from
# another machine, so the file alone proves nothing.
running() {
    local pid
    pid=$(cat "$1" 2>/dev/null) && [[ $pid =~ ^[0-9]+$ ]] && has_argument "$pid" "$2" && printf '%s\n' "$pid"
}

engine_pid() { running "$run/dockerd.pid" "$run/dockerd.pid"; }
containerd_pid() { running "$run/exec/containerd/containerd.pid" "$run/exec/containerd/containerd.toml"; }

engine_gone() { ! engine_pid >/dev/null; }
containerd_gone() { ! containerd_pid >/dev/null; }

# dockerd stops its containerd, unless it was killed.
stop_containerd() {
    local pid
    pid=$(containerd_pid) || return 0
    kill "$pid"
    within 10 containerd_gone || kill -KILL "$pid"
}

# A new dockerd trusts its predecessor's pid files, and waits 10 s for a containerd whose id is another process's now.
remove_traces() { rm -f "$run/dockerd.pid" "$run/exec/containerd/containerd.pid" "$run/docker.sock"; }

# Wait up to $1 seconds until the command after it succeeds.
within() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}
