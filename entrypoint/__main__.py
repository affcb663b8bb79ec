"""``python -m entrypoint`` is the console script ``certfront``."""

import sys

from entrypoint.launch import main

sys.exit(main())
