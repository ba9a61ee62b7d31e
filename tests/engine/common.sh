# shellcheck shell=bash
# Shared by setup.sh and stop.sh: the folders, and how to identify the processes of our engine.

# HOME may be unset or empty in CI, so the default depends on no variable.
cache=${DEAL_SCOUT_ENGINE:-/var/cache/deal-scout-engine}
run=$cache/run
export DOCKER_HOST=unix://$run/docker.sock

say() { printf '%s\n' "engine: $*" >&2; }

die() {
    say "$*"
    exit 1
}

# Only one setup or stop at a time. Programs that outlive the script must close descriptor 9.
take_lock() {
    [[ $(id -u) -eq 0 ]] || die "needs root"
    [[ $cache = /* ]] || die "DEAL_SCOUT_ENGINE must be an absolute path, not '$cache'"
    mkdir -p "$run"
    exec 9>"$cache/lock"
    flock --wait 900 9 || die "another setup.sh or stop.sh has held $cache/lock for 15 minutes"
}

# Succeed if process $1 is running with $2 as one of its arguments.
has_argument() { { tr '\0' '\n' <"/proc/$1/cmdline" | grep -xF -- "$2"; } >/dev/null 2>&1; }

# Print the process id in the pid file $1 if that process has the argument $2. The file alone is no
# proof: ids are reused, and the cache may come from another machine.
running() {
    local pid
    pid=$(cat "$1" 2>/dev/null) && [[ $pid =~ ^[0-9]+$ ]] && has_argument "$pid" "$2" && printf '%s\n' "$pid"
}

engine_pid() { running "$run/dockerd.pid" "$run/dockerd.pid"; }
containerd_pid() { running "$run/exec/containerd/containerd.pid" "$run/exec/containerd/containerd.toml"; }

engine_gone() { ! engine_pid >/dev/null; }
containerd_gone() { ! containerd_pid >/dev/null; }

# dockerd stops its containerd, unless dockerd was killed.
stop_containerd() {
    local pid
    pid=$(containerd_pid) || return 0
    kill "$pid"
    within 10 containerd_gone || kill -KILL "$pid"
}

# A new dockerd trusts existing pid files, and would wait 10 s for a containerd whose id has been reused.
remove_stale_files() { rm -f "$run/dockerd.pid" "$run/exec/containerd/containerd.pid" "$run/docker.sock"; }

# Retry the command after $1 until it succeeds, for up to $1 seconds.
within() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}
