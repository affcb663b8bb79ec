"""Pipes in supervisord's loop: one that signals wake it by, and those that children's standard error comes through.

NGINX's error log knows no format of its own: with LOG_FORMAT=json its lines become JSON here. All have the protocol of
asyncore's dispatchers, as supervisord uses it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from datetime import UTC, datetime

from entrypoint.core.json_lines import wrapped

_LONGEST = 65536  # bytes of a line without an end


class Wakeup:
    """A pipe that signals write to."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self.writer, warn_on_full_buffer=False)

    def wake(self) -> None:
        """Let the loop go round once."""
        os.write(self.writer, b"\0")

    def readable(self) -> bool:
        """Whether the loop is to wait for input."""
        return True

    def writable(self) -> bool:
        """Whether the loop is to wait for room."""
        return False

    def handle_read_event(self) -> None:
        """Forget what woke it."""
        os.read(self.reader, 4096)

    def handle_error(self) -> None:
        """Nothing can go wrong that matters."""


class Relay:
    """A pipe whose ``writer`` is a child's standard error; its lines go on to our own, as JSON."""

    def __init__(self, logger: str) -> None:
        self.reader, self.writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.reader, False)  # a child's writes wait: no line is lost
        self._logger, self._rest = logger, b""

    def readable(self) -> bool:
        """Whether the loop is to wait for input."""
        return True

    def writable(self) -> bool:
        """Whether the loop is to wait for room."""
        return False

    def handle_read_event(self) -> None:
        """Pass on what has come."""
        with contextlib.suppress(BlockingIOError):
            self._take(os.read(self.reader, _LONGEST))

    def handle_error(self) -> None:
        """A broken standard error of our own is no reason to end."""

    def drain(self) -> None:
        """Pass on all that is left, when no child is."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.reader, _LONGEST):
                self._take(data)
        self._take(b"\n")

    def _take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) >= _LONGEST:
            lines, self._rest = [*lines, self._rest], b""
        texts = (line.decode(errors="backslashreplace") for line in lines if line.strip())
        now = datetime.now(UTC)
        sys.stderr.writelines(f"{wrapped(text, self._logger, now)}\n" for text in texts)
        sys.stderr.flush()
