#!/bin/sh
# Configures what /docker-entrypoint.d asks for, then becomes the command: for `nginx` and `nginx-debug` only.
set -e

say() {
    [ -n "${NGINX_ENTRYPOINT_QUIET_LOGS:-}" ] || echo "$0: $*"
}

if [ "$1" = nginx ] || [ "$1" = nginx-debug ]; then
    for file in $(find /docker-entrypoint.d/ -follow -type f | sort -V); do
        if [ ! -x "$file" ]; then
            say "ignoring $file, not executable"
            continue
        fi
        case $file in
            *.envsh) say "sourcing $file"; . "$file" ;;
            *.sh) say "running $file"; "$file" ;;
            *) say "ignoring $file" ;;
        esac
    done
fi
exec "$@"
