#!/bin/sh
# `certfront` in the image. Engines ask for its health every few seconds: that starts no more of Python than it needs,
# neither the environment's packages (-S) nor anything else that could come in its way (-I). A container that runs
# another command is none of certfront's, and not unhealthy for that (--image).
case ${1:-} in
    health)
        for packages in /opt/certfront/lib/python3*/site-packages; do
            exec /opt/certfront/bin/python -ISOOc '
import sys
sys.path.append(sys.argv.pop(1))
from entrypoint.launch import main
sys.exit(main())' "$packages" "$@" --image
        done
        ;;
esac
exec /opt/certfront/bin/certfront "$@"
