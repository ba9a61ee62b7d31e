#!/bin/sh
# Start the backend: wait for Postgres, apply the migrations, then become Uvicorn.
#
# This script defines the order; the steps that need sockets, timeouts or quoting are in app/boot/:
# startup, database_wait, migrations, watchdog and serve. Failures delay the application but never
# prevent its start.
# The lines on stdout are an interface: `inv restart-backend` and users' scripts parse them.
set -f

BANNER='============================================'
ALEMBIC='alembic upgrade head'
UVICORN='uvicorn app.main:app --fd 3 --no-server-header --timeout-graceful-shutdown 5'

export ALEMBIC_CMD="${ALEMBIC_CMD-$ALEMBIC}" # empty: no migrations
export UVICORN_CMD="${UVICORN_CMD:-$UVICORN}"
export DB_WAIT_TIMEOUT="${DB_WAIT_TIMEOUT:-60}"
export MIGRATE_DELAYS="${MIGRATE_DELAYS:-2 4 8 16 32 64}"
export MIGRATE_TIMEOUT="${MIGRATE_TIMEOUT:-600}"
export HEALTH_RESTART_AFTER="${HEALTH_RESTART_AFTER:-300}"
export LIVE_RESTART_AFTER="${LIVE_RESTART_AFTER:-30}"
export RUN_DIR="${RUN_DIR:-/tmp}"
export WEB_CONCURRENCY="${WEB_CONCURRENCY:-1}" # read by Uvicorn, which rejects an empty value

# app.boot.startup validates the settings, listens on PORT, starts the responder and executes this
# script again in the same process: with the socket as file descriptor 3, and with ENTRYPOINT_PID
# and RESPONDER_PID in the environment.
if [ "$ENTRYPOINT_PID" != "$$" ]; then
    exec python -m app.boot.startup -- sh "$0"
fi

log() {
    printf '[entrypoint] %s\n' "$*"
}

# A shell handles a signal only when the foreground command has exited, but it interrupts `wait`.
run() {
    "$@" 3>&- &
    wait $!
}

stop() {
    trap '' TERM INT
    kill -s KILL "$RESPONDER_PID"
    kill -s TERM $!
    wait
    exit "$1"
} 2>/dev/null
trap 'stop 143' TERM
trap 'stop 130' INT

# Append to the boot state, which the probes report. app.boot.startup has logged if it is not writable.
record() {
    printf '%s\n' "$@" >>"$RUN_DIR/boot"
} 2>/dev/null

now() {
    date +%s.%N # where `date` does not support %N, app.boot ignores it
}

# log_command NAME COMMAND DEFAULT: a custom command may contain secrets, so log its first word only.
log_command() {
    case $2 in
        '' | "$3") log "$1=$2" ;;
        *) log "$1=${2%%[[:space:]]*} ..." ;;
    esac
}

wait_for_postgres() {
    log "Waiting for Postgres at $DB_HOST:$DB_PORT..."
    if run python -m app.boot.database_wait; then
        database=answered
        log '✓ DB connectivity check complete.'
    else
        database='timed out'
        log "⚠️  Postgres did not answer within ${DB_WAIT_TIMEOUT}s. Continuing anyway."
    fi
}

# Sets $migrations to the outcome.
migrate() {
    log 'Running database migrations...'
    record "database_outcome=$database" "migrations_began=$(now)"
    case $ALEMBIC_CMD in
        *[![:space:]]*) ;;
        *)
            log 'ALEMBIC_CMD is empty: migrations skipped.'
            migrations=skipped
            return
            ;;
    esac
    attempt=0
    # shellcheck disable=SC2086  # split into words
    set -- $MIGRATE_DELAYS
    for delay; do
        attempt=$((attempt + 1))
        record phase=migrating "migrations_attempts=$attempt" "migrations_limit=$#"
        log "Alembic attempt $attempt/$# (delay: ${delay}s)..."
        run python -m app.boot.migrations
        code=$?
        if [ "$code" = 0 ]; then
            log '✓ Migrations applied successfully.'
            migrations=applied
            return
        fi
        log "✗ Alembic exited with code $code."
        if [ "$attempt" -lt $# ]; then
            log "Retrying in ${delay}s..."
        else
            log "Starting without the migrations in ${delay}s..."
        fi
        run sleep "$delay"
    done
    log "⚠️  Migrations did not complete after $# attempts."
    log 'WARNING: Service will start but may have incomplete schema.'
    log "Retrying in the background every ${delay}s."
    migrations=failed
}

log "$BANNER"
log 'Deal-Scout Backend Entrypoint'
log "$BANNER"
log "DB_HOST=$DB_HOST"
log "DB_PORT=$DB_PORT"
log "PORT=$PORT"
log_command ALEMBIC_CMD "$ALEMBIC_CMD" "$ALEMBIC"
log_command UVICORN_CMD "$UVICORN_CMD" "$UVICORN"

wait_for_postgres
migrate
record phase=serving "migrations=$migrations" "migrations_outcome=$migrations" "application_began=$(now)"
log 'Starting Uvicorn application...'
log "$BANNER"
# In the background, while the application is running.
case $HEALTH_RESTART_AFTER$LIVE_RESTART_AFTER in
    *[1-9]*) python -m app.boot.watchdog 3>&- & ;;
esac
if [ "$migrations" = failed ]; then
    python -m app.boot.migrations "$delay" "$attempt" 3>&- &
fi
# The default command has no quotes and no $PORT. Other commands need app.boot.serve, which starts Python again.
# shellcheck disable=SC2086  # split into words
[ "$UVICORN_CMD" != "$UVICORN" ] || exec $UVICORN
exec python -m app.boot.serve
