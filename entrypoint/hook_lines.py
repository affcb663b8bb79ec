"""`certfront lines FILE`: the output of a hook in the container, from standard input to standard output as JSON."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime

from entrypoint.core.json_lines import wrapped

_LONGEST = 65536  # bytes of a line without an end
_ENDED = b"\0\n"  # container.sh's word that the hook has ended


def main(hook: str) -> int:
    """Convert lines until the pipe is closed by all writers; the caller waits only for the end of the hook."""
    waited_for = True
    for line in iter(lambda: sys.stdin.buffer.readline(_LONGEST), b""):
        if line != _ENDED:
            _write(line.rstrip(b"\r\n").decode(errors="backslashreplace"), hook)
        elif waited_for:
            if os.fork():
                return 0
            waited_for = False
    return 0


def _write(text: str, hook: str) -> None:
    if text.strip():
        sys.stdout.buffer.write(wrapped(text, hook, datetime.now(UTC)).encode(errors="backslashreplace") + b"\n")
        sys.stdout.flush()
