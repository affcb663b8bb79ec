"""``python -m entrypoint`` is the console script ``certfront``."""

import sys

from entrypoint.cli import main

sys.exit(main())
