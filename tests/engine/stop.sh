#!/usr/bin/env bash
# Stop the engine that setup.sh started, and its containers. Their restart policies apply when it starts again.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

stop_engine() {
    local pid
    pid=$(engine_pid) || return 0
    say "stopping dockerd ($pid)"
    kill "$pid"
    # It gives its containers 15 s, and then kills them.
    within 40 engine_gone || {
        say "dockerd does not stop: killing it"
        kill -KILL "$pid"
        within 10 engine_gone || die "dockerd ($pid) survives SIGKILL"
    }
}

# What a dockerd that was killed leaves: containers, the shims that hold them, and mounts, because of which nobody could
# delete the folder.
clear_up() {
    local runc=(runc --root "$run/exec/runtime-runc/moby") container process mounts
    if [[ -d $run/exec/runtime-runc/moby ]]; then
        for container in $("${runc[@]}" list --quiet); do
            "${runc[@]}" delete --force "$container" || say "container $container does not go away"
        done
    fi
    for process in /proc/[0-9]*; do
        ! has_argument "${process#/proc/}" "$run/exec/containerd/containerd.sock" || kill -KILL "${process#/proc/}"
    done
    mounts=$(findmnt --raw --noheadings --output TARGET | awk -v folder="$cache/" 'index($0, folder) == 1' | sort -r)
    [[ -z $mounts ]] || xargs umount --lazy <<<"$mounts"
}

take_lock
stop_engine
stop_containerd
clear_up
remove_traces
