#!/bin/sh
# The container's first process: prepares as the official NGINX image does, then becomes certfront, or the command given.
set -eu

# PID 1 has no default signal actions: without this, a stop in the first moments would wait for the engine's kill.
trap 'exit 0' TERM QUIT INT

# What all others do ($1), for as long as this is a shell: KILL and STOP cannot be set, CHLD stays, 32 and 33 are libc's.
others() {
    number=1
    while [ "$number" -le 64 ]; do
        case $number in 2 | 3 | 9 | 15 | 17 | 19 | 32 | 33) ;; *) trap "$1" "$number" ;; esac
        number=$((number + 1))
    done
}

# LOG_FORMAT=json is for all lines: text in, an object a line out.
objects() {
    case ${LOG_FORMAT:-} in [Jj][Ss][Oo][Nn]) ;; *) cat; return ;; esac
    now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
    tr -d '\000-\010\013-\037' | sed -e 's/[\\"]/\\&/g' -e 's/	/\\t/g' \
        -e "s/.*/{\"time\":\"$now\",\"level\":\"$1\",\"logger\":\"certfront.container\",\"message\":\"&\"}/"
}

say() {
    [ -n "${NGINX_ENTRYPOINT_QUIET_LOGS:-}" ] || printf 'certfront: %s\n' "$*" | objects info
}

# /docker-entrypoint.d in the order of its names: *.envsh is sourced, *.sh is run, what is not executable is left out.
prepare() {
    while IFS= read -r file <&3; do
        case $file in
            *.envsh | *.sh) [ -x "$file" ] || { say "$file is not executable: ignored"; continue; } ;;
            *) continue ;;
        esac
        say "running $file"
        case $file in
            *.envsh) . "$file" ;;
            *) "$file" 3<&- || { echo "certfront: $file failed with status $?" | objects error >&2; exit 1; } ;;
        esac
    done 3<<FILES
$(find /docker-entrypoint.d/ -follow -type f 2>/dev/null | sort -V)
FILES
}

# A read-only root cannot take filled templates: then they go where we may write.
place_templates() {
    [ -d "${NGINX_ENVSUBST_TEMPLATE_DIR:-/etc/nginx/templates}" ] || return 0
    [ -z "${NGINX_ENVSUBST_OUTPUT_DIR:-}" ] && [ ! -w /etc/nginx/conf.d ] || return 0
    NGINX_ENVSUBST_OUTPUT_DIR=${CERTFRONT_RUN_DIR:-/run/certfront}/conf.d
    export NGINX_ENVSUBST_OUTPUT_DIR
    # Made anew: what lies there may be of a template that is gone, or another user's. Templates may be closed to others.
    rm -rf "$NGINX_ENVSUBST_OUTPUT_DIR"
    mkdir -p -m 0755 "${CERTFRONT_RUN_DIR:-/run/certfront}"
    mkdir -m 0700 "$NGINX_ENVSUBST_OUTPUT_DIR"
}

case ${1:-run} in
    run)
        others :
        place_templates
        prepare
        # While Python starts, a stop stays pending until certfront takes it, and all others do nothing.
        others ''
        exec env --block-signal=TERM,QUIT,INT certfront run
        ;;
    agent | check | fetch | status | refresh | render | import | health | demo | demo-certmgr | -*)
        exec certfront "$@"
        ;;
    *)
        # A command of the base image or of the user's own, prepared as the base image does it.
        if [ -x /docker-entrypoint.sh ]; then exec /docker-entrypoint.sh "$@"; fi
        exec "$@"
        ;;
esac
