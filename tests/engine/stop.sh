#!/usr/bin/env bash
# Stop the engine that setup.sh started, and its containers. Restart policies apply when it starts again.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

stop_engine() {
    local pid
    pid=$(engine_pid) || return 0
    say "stopping dockerd ($pid)"
    kill "$pid"
    # It stops its containers, and kills them after 15 s.
    within 40 engine_gone || {
        say "dockerd has not stopped after 40 s: killing it"
        kill -KILL "$pid"
        within 10 engine_gone || die "dockerd ($pid) survives SIGKILL"
    }
}

# Remove what a killed dockerd leaves behind: containers, their shims, and mounts that would block deleting the folder.
clean_up() {
    local runc=(runc --root "$run/exec/runtime-runc/moby") container process mounts
    if [[ -d $run/exec/runtime-runc/moby ]]; then
        for container in $("${runc[@]}" list --quiet); do
            "${runc[@]}" delete --force "$container" || say "cannot delete container $container"
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
clean_up
remove_stale_files
