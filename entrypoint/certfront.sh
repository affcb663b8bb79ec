#!/bin/sh
# `certfront` in the image. Engines ask for its health every few seconds: that starts no more of Python than it needs,
# neither the environment's packages (-S) nor anything else that could come in its way (-I). A container that runs
# another command is none of certfront's, and not unhealthy for that (--image). `lines` is container.sh's, for each hook.
case ${1:-} in
    health | lines)
        [ "$1" = lines ] || set -- "$@" --image
        for packages in /opt/certfront/lib/python3*/site-packages; do
            exec /opt/certfront/bin/python -ISOOc '
import sys
sys.path.append(sys.argv.pop(1))
from entrypoint.launch import main
sys.exit(main())' "$packages" "$@"
        done
        ;;
esac
exec /opt/certfront/bin/certfront "$@"
