#!/usr/bin/env bash
# What the official postgres image does on start, as far as its users can tell: the first start makes the cluster with a
# temporary server that listens on the unix socket alone, so that a probe without `-h` is fooled here as it is there.
set -Eeuo pipefail

# The value of $1, or of the file that $1_FILE names, or $2.
variable() {
    local file=${1}_FILE
    if [[ -n ${!1:-} && -n ${!file:-} ]]; then
        echo >&2 "error: both $1 and $file are set (but are exclusive)"
        exit 1
    elif [[ -n ${!file:-} ]]; then
        cat "${!file}"
    else
        printf '%s' "${!1:-${2:-}}"
    fi
}

initialise() {
    local user password database method
    user=$(variable POSTGRES_USER postgres)
    password=$(variable POSTGRES_PASSWORD)
    database=$(variable POSTGRES_DB "$user")
    method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
    if [[ -z $password && $method != trust ]]; then
        echo >&2 "Error: Database is uninitialized and superuser password is not specified."
        echo >&2 "       You must specify POSTGRES_PASSWORD to a non-empty value for the superuser."
        exit 1
    fi

    # shellcheck disable=SC2086  # the arguments are words
    initdb --username="$user" --pwfile=<(printf '%s\n' "$password") ${POSTGRES_INITDB_ARGS:-}
    printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"

    pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start
    local psql=(psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$user" --no-password)
    if [[ $database != postgres ]]; then
        "${psql[@]}" --dbname postgres --set db="$database" <<<'CREATE DATABASE :"db";'
    fi
    local script
    for script in /docker-entrypoint-initdb.d/*; do
        echo "$0: running $script"
        case $script in
            *.sh)
                # shellcheck source=/dev/null
                if [[ -x $script ]]; then "$script"; else . "$script"; fi
                ;;
            *.sql) "${psql[@]}" --dbname "$database" --file "$script" ;;
            *.sql.gz) gunzip -c "$script" | "${psql[@]}" --dbname "$database" ;;
            *) echo "$0: ignoring $script" ;;
        esac
    done
    pg_ctl -D "$PGDATA" -m fast -w stop
    printf '\nPostgreSQL init process complete; ready for start up.\n\n'
}

shopt -s nullglob
[[ ${1:-} != -* ]] || set -- postgres "$@"

if [[ ${1:-} = postgres ]]; then
    mkdir -p "$PGDATA"
    chmod 0700 "$PGDATA" || true
    if [[ $(id -u) = 0 ]]; then
        find "$PGDATA" /var/run/postgresql \! -user postgres -exec chown postgres '{}' +
        exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
    fi
    if [[ -s $PGDATA/PG_VERSION ]]; then
        printf '\nPostgreSQL Database directory appears to contain a database; Skipping initialization\n\n'
    else
        initialise
    fi
fi

exec "$@"
