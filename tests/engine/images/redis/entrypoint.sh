#!/bin/sh
# What the official redis image does on start.
set -eu

case ${1:-} in
    -* | *.conf) set -- redis-server "$@" ;;
esac

if [ "${1:-}" = redis-server ]; then
    if [ "$(id -u)" = 0 ]; then
        find . \! -user redis -exec chown redis '{}' +
        exec setpriv --reuid redis --regid redis --init-groups "$0" "$@"
    fi
    # The official server is built without protected mode, which would refuse other containers when no password is set.
    case " $* " in
        *.conf\ * | *protected-mode*) ;;
        *) set -- "$@" --protected-mode no ;;
    esac
    # The data is nobody else's business.
    [ "$(umask)" != 0022 ] || umask 0077
fi

exec "$@"
