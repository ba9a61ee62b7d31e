#!/bin/sh
# What the official nginx image does on start: scripts, resolvers, templates, then the server.
set -eu

# `*.envsh` files set variables for what follows; `*.sh` files are run.
run_scripts() {
    for script in /docker-entrypoint.d/*; do
        [ -x "$script" ] || continue
        case $script in
            *.envsh)
                # shellcheck source=/dev/null
                . "$script"
                ;;
            *.sh) "$script" ;;
        esac
    done
}

# A configuration that looks names up at run time asks for this with NGINX_ENTRYPOINT_LOCAL_RESOLVERS.
find_resolvers() {
    NGINX_LOCAL_RESOLVERS=$(awk '$1 == "nameserver" { print ($2 ~ ":" ? "[" $2 "]" : $2) }' ORS=' ' /etc/resolv.conf)
    NGINX_LOCAL_RESOLVERS=${NGINX_LOCAL_RESOLVERS% }
    export NGINX_LOCAL_RESOLVERS
}

fill_templates() {
    folder=${NGINX_ENVSUBST_TEMPLATE_DIR:-/etc/nginx/templates}
    suffix=${NGINX_ENVSUBST_TEMPLATE_SUFFIX:-.template}
    output=${NGINX_ENVSUBST_OUTPUT_DIR:-/etc/nginx/conf.d}
    [ -d "$folder" ] || return 0
    if [ ! -w "$output" ]; then
        echo >&2 "$0: ERROR: $folder exists, but $output is not writable"
        return 0
    fi
    # Only variables that are set, so that nginx's own, such as $host, stay as they are.
    names=$(awk -v filter="${NGINX_ENVSUBST_FILTER:-}" \
        'BEGIN { for (name in ENVIRON) if (name ~ filter) printf "${%s} ", name }')
    find -L "$folder" -type f -name "*$suffix" | while read -r template; do
        relative=${template#"$folder/"}
        target=$output/${relative%"$suffix"}
        mkdir -p "$(dirname "$target")"
        echo "$0: running envsubst on $template to $target"
        envsubst "$names" <"$template" >"$target"
    done
}

case ${1:-} in
    nginx | nginx-debug)
        [ -z "${NGINX_ENTRYPOINT_LOCAL_RESOLVERS:-}" ] || find_resolvers
        run_scripts
        fill_templates
        ;;
esac

exec "$@"
