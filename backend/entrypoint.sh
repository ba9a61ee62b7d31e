#!/bin/sh
# Starts the backend: waits for Postgres, applies the migrations, becomes Uvicorn.
#
# This is the order of things; what needs a socket, a clock or quotes is in app/boot/: startup,
# database_wait, migrations, watchdog and serve. Failures delay the application, they never
# prevent it.
# Its lines on stdout are an interface: `inv restart-backend` reads them, and people's greps do.
set -f

BANNER='============================================'
ALEMBIC='alembic upgrade head'
UVICORN='uvicorn app.main:app --fd 3 --no-server-header --timeout-graceful-shutdown 5'

export ALEMBIC_CMD="${ALEMBIC_CMD-$ALEMBIC}" # set to nothing, it means: no migrations
export UVICORN_CMD="${UVICORN_CMD:-$UVICORN}"
export DB_WAIT_TIMEOUT="${DB_WAIT_TIMEOUT:-60}"
export MIGRATE_DELAYS="${MIGRATE_DELAYS:-2 4 8 16 32 64}"
export MIGRATE_TIMEOUT="${MIGRATE_TIMEOUT:-600}"
export HEALTH_RESTART_AFTER="${HEALTH_RESTART_AFTER:-300}"
export LIVE_RESTART_AFTER="${LIVE_RESTART_AFTER:-30}"
export RUN_DIR="${RUN_DIR:-/tmp}"
export WEB_CONCURRENCY="${WEB_CONCURRENCY:-1}" # Uvicorn's own variable; it takes no empty one

# app.boot.startup checks all settings, listens on PORT and runs this script again, in this same
# process: with the socket as descriptor 3, the responder behind it, and these two exported.
if [ "$ENTRYPOINT_PID" != "$$" ]; then
    exec python -m app.boot.startup -- sh "$0"
fi

say() {
    printf '[entrypoint] %s\n' "$*"
}

# A shell answers a signal once the command in the foreground has ended, but leaves `wait` at once.
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

# More of the boot state, for whoever answers on PORT. app.boot.startup has told if it cannot be written.
record() {
    printf '%s\n' "$@" >>"$RUN_DIR/boot"
} 2>/dev/null

now() {
    date +%s.%N # a date that knows no %N leaves it standing, and app.boot ignores it
}

# show NAME COMMAND DEFAULT: a command of somebody's own may hold secrets, so only its first word.
show() {
    case $2 in
        '' | "$3") say "$1=$2" ;;
        *) say "$1=${2%%[[:space:]]*} ..." ;;
    esac
}

wait_for_postgres() {
    say "Waiting for Postgres at $DB_HOST:$DB_PORT..."
    if run python -m app.boot.database_wait; then
        database=answered
        say '✓ DB connectivity check complete.'
    else
        database='timed out'
        say "⚠️  Postgres did not answer within ${DB_WAIT_TIMEOUT}s. Continuing anyway."
    fi
}

# Sets $migrations to what came of them.
migrate() {
    say 'Running database migrations...'
    record "database_outcome=$database" "migrations_began=$(now)"
    case $ALEMBIC_CMD in
        *[![:space:]]*) ;;
        *)
            say 'ALEMBIC_CMD is empty: migrations skipped.'
            migrations=skipped
            return
            ;;
    esac
    attempt=0
    # shellcheck disable=SC2086  # words
    set -- $MIGRATE_DELAYS
    for delay; do
        attempt=$((attempt + 1))
        record phase=migrating "migrations_attempts=$attempt" "migrations_limit=$#"
        say "Alembic attempt $attempt/$# (delay: ${delay}s)..."
        run python -m app.boot.migrations
        code=$?
        if [ "$code" = 0 ]; then
            say '✓ Migrations applied successfully.'
            migrations=applied
            return
        fi
        say "✗ Alembic exited with code $code."
        if [ "$attempt" -lt $# ]; then
            say "Retrying in ${delay}s..."
        else
            say "Starting without them in ${delay}s..."
        fi
        run sleep "$delay"
    done
    say "⚠️  Migrations did not complete after $# attempts."
    say 'WARNING: Service will start but may have incomplete schema.'
    say "The background goes on trying, every ${delay}s."
    migrations=failed
}

say "$BANNER"
say 'Deal-Scout Backend Entrypoint'
say "$BANNER"
say "DB_HOST=$DB_HOST"
say "DB_PORT=$DB_PORT"
say "PORT=$PORT"
show ALEMBIC_CMD "$ALEMBIC_CMD" "$ALEMBIC"
show UVICORN_CMD "$UVICORN_CMD" "$UVICORN"

wait_for_postgres
migrate
record phase=serving "migrations=$migrations" "migrations_outcome=$migrations" "application_began=$(now)"
say 'Starting Uvicorn application...'
say "$BANNER"
# In the background, as long as the application runs.
case $HEALTH_RESTART_AFTER$LIVE_RESTART_AFTER in
    *[1-9]*) python -m app.boot.watchdog 3>&- & ;;
esac
if [ "$migrations" = failed ]; then
    python -m app.boot.migrations "$delay" "$attempt" 3>&- &
fi
# The default has no quotes and no $PORT: only other commands need app.boot.serve, one more start of Python.
# shellcheck disable=SC2086  # words
[ "$UVICORN_CMD" != "$UVICORN" ] || exec $UVICORN
exec python -m app.boot.serve
