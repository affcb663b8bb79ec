#!/bin/sh
# `nginx` for administrators, first in the image's PATH: while certfront runs, -t, -T and -s are about what it runs; all
# else, and everything where it does not run, is the real program's.
set -u
own=${0%/*}

runs() {
    read -r pid <"${CERTFRONT_RUN_DIR:-/run/certfront}/supervisord.pid" && [ -d "/proc/$pid" ]
}

for argument; do
    case $argument in
        -*[tTs]*) if runs 2>/dev/null; then exec "$own/../bin/certfront" nginx "$@"; fi ;;
    esac
done
IFS=:
for folder in $PATH; do
    [ "$folder" = "$own" ] || [ ! -x "$folder/nginx" ] || exec "$folder/nginx" "$@"
done
echo "nginx: there is no such program in $PATH" >&2
exit 127
