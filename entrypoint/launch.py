# PYTHON_ARGCOMPLETE_OK
"""The console script: what must not wait for the imports of all commands comes first."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command that the arguments name; returns the exit status."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command in ("run", "agent"):
        from entrypoint import signals

        signals.ignore_all_but(signals.ENDING)
    from entrypoint import cli

    return cli.main()
