#!/bin/sh
# Fills the templates with the environment: only variables that are defined, so that NGINX's own ones stay.
set -e
templates=${NGINX_ENVSUBST_TEMPLATE_DIR:-/etc/nginx/templates}
suffix=${NGINX_ENVSUBST_TEMPLATE_SUFFIX:-.template}
output=${NGINX_ENVSUBST_OUTPUT_DIR:-/etc/nginx/conf.d}
[ -d "$templates" ] || exit 0
if [ ! -w "$output" ]; then
    echo "$0: ERROR: $templates exists, but $output is not writable"
    exit 0
fi
defined=$(awk -v filter="${NGINX_ENVSUBST_FILTER:-}" 'BEGIN { for (name in ENVIRON) if (name ~ filter) printf "${%s} ", name }')
find "$templates" -follow -type f -name "*$suffix" | while read -r template; do
    path=${template#"$templates/"}
    mkdir -p "$output/$(dirname "$path")"
    envsubst "$defined" <"$template" >"$output/${path%"$suffix"}"
done
