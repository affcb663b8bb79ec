# PYTHON_ARGCOMPLETE_OK
"""The console script: process limits and the commands that must start without the imports of all others."""

from __future__ import annotations

import resource
import sys


def main() -> int:
    """Run the command in the arguments; returns the exit status."""
    # Keys and passwords are in the memory of all that starts from here. The hard limit stays: `worker_rlimit_core` in a
    # configuration of the user's is for whoever wants a core of a worker all the same.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command == "health":
        from entrypoint import health

        status = health.quick(sys.argv[2:])
        if status is not None:
            return status
    if command == "lines":
        from entrypoint import hook_lines

        return hook_lines.main(sys.argv[2])
    if command in ("run", "agent"):
        from entrypoint.system import signals

        signals.ignore_all_but(signals.ENDING)
    from entrypoint import cli

    return cli.main()
