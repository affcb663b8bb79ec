"""Pipes in supervisord's loop: one for wake-ups by signals, and one for each child's standard error.

NGINX's error log has no format of its own: with LOG_FORMAT=json its lines become JSON here. All have the interface of
asyncore's dispatchers, which supervisord uses.
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
    """A pipe that signal handlers write to."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self.writer, warn_on_full_buffer=False)

    def wake(self) -> None:
        """Let the loop run once."""
        os.write(self.writer, b"\0")

    def readable(self) -> bool:
        """Whether the loop is to wait for input."""
        return True

    def writable(self) -> bool:
        """Whether the loop is to wait for room."""
        return False

    def handle_read_event(self) -> None:
        """Discard the bytes that woke the loop."""
        os.read(self.reader, 4096)

    def handle_error(self) -> None:
        """Ignore errors: none of them matters here."""


class Relay:
    """A pipe whose ``writer`` is a child's standard error; its lines are written to our own, as JSON."""

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
        """Write the available lines."""
        with contextlib.suppress(BlockingIOError):
            self._take(os.read(self.reader, _LONGEST))

    def handle_error(self) -> None:
        """Ignore errors: a broken standard error of our own is no reason to end."""

    def drain(self) -> None:
        """Write the remaining lines, after the end of all children."""
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
