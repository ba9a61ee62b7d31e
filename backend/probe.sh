#!/bin/sh
# Swarm's probe of a replica: exits 0 when it may have, or keep, its place.
#
# Swarm has one probe for two questions. A new replica takes over once it is /ready, so that it does not while it
# migrates; from then on /live decides, for replacing every replica would mend no database. `ahead=ok`: a replica of the
# former release may come back after a migration. No Python, whose start alone takes longer than a busy machine has.
mark=${RUN_DIR:-/tmp}/was-ready

ask() {
    wget -qO - --content-on-error --no-proxy --tries 1 --timeout 3 "http://127.0.0.1:${PORT:-8000}$1"
}

if [ -e "$mark" ]; then
    ask /live
else
    ask '/ready?ahead=ok' && : >"$mark"
fi
