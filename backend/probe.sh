#!/bin/sh
# Health check of a replica in Swarm, which has one check for both readiness and liveness.
#
# A new replica must pass /ready once, so that it gets no traffic while it migrates. From then on it must pass /live:
# replacing every replica would not fix a database outage. With `ahead=ok` a replica of the previous release may start
# after a migration. This is no Python script because starting Python takes too long on a busy machine.
was_ready=${RUN_DIR:-/tmp}/was-ready

get() {
    wget -qO - --content-on-error --no-proxy --tries 1 --timeout 3 "http://127.0.0.1:${PORT:-8000}$1"
}

if [ -e "$was_ready" ]; then
    get /live
else
    get '/ready?ahead=ok' && : >"$was_ready"
fi
