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

# LOG_FORMAT=json is for all lines.
is_json() {
    case ${LOG_FORMAT:-} in [Jj][Ss][Oo][Nn]) ;; *) return 1 ;; esac
}

# Text in, an object a line out.
objects() {
    is_json || { cat; return; }
    now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
    tr -d '\000-\010\013-\037' | sed -e 's/[\\"]/\\&/g' -e 's/	/\\t/g' \
        -e "s/.*/{\"time\":\"$now\",\"level\":\"$1\",\"logger\":\"certfront.container\",\"message\":\"&\"}/"
}

say() {
    [ -n "${NGINX_ENTRYPOINT_QUIET_LOGS:-}" ] || printf 'certfront: %s\n' "$*" | objects info
}

# With LOG_FORMAT=json, what this shell and a hook ($1) write from here on goes through a pipe to a reader that makes
# objects of it. The shell's own output is kept as 5 and 6, a writing end of the pipe as 9.
aside() {
    is_json || return 0
    hook_pipe=$(mktemp -d /dev/shm/certfront-XXXXXX 2>/dev/null || mktemp -d) && mkfifo "$hook_pipe/lines" || return 0
    # Open for both at first: neither end waits for the other.
    exec 8<>"$hook_pipe/lines" 7<"$hook_pipe/lines" 9>"$hook_pipe/lines" 8>&-
    rm -r "$hook_pipe"
    certfront lines "$1" <&7 3<&- 7<&- 9>&- &
    hook_reader=$!
    exec 5>&1 6>&2 >&9 2>&1 7<&-
}

# The hook has ended, and all that it wrote is out. A line with a zero byte alone tells the reader so: it goes on in the
# background for what the hook left running, and nobody waits for that.
back() {
    [ -n "$hook_reader" ] || return 0
    printf '\n\000\n' >&9 || :
    exec >&5 2>&6 5>&- 6>&- 9>&-
    while kill -0 "$hook_reader" 2>/dev/null; do wait "$hook_reader" || :; done
    hook_reader=
}

failed() {
    back
    echo "certfront: $1 failed with status $2" | objects error >&2
    exit 1
}

# /docker-entrypoint.d in the order of its names: *.envsh is sourced, *.sh is run, what is not executable is left out.
prepare() {
    while IFS= read -r file <&3; do
        case $file in
            *.envsh | *.sh) [ -x "$file" ] || { say "$file is not executable: ignored"; continue; } ;;
            *) continue ;;
        esac
        say "running $file"
        aside "$file"
        case $file in
            *.envsh) . "$file" ;;
            *) "$file" 3<&- 5>&- 6>&- 9>&- || failed "$file" "$?" ;;
        esac
        back
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
        hook_reader=
        trap back EXIT
        place_templates
        prepare
        # While Python starts, a stop stays pending until certfront takes it, and all others do nothing.
        others ''
        exec env --block-signal=TERM,QUIT,INT certfront run
        ;;
    agent | fetch | status | refresh | render | health | demo | demo-certmgr | -*)
        exec certfront "$@"
        ;;
    *)
        # A command of the base image or of the user's own, prepared as the base image does it.
        if [ -x /docker-entrypoint.sh ]; then exec /docker-entrypoint.sh "$@"; fi
        exec "$@"
        ;;
esac
