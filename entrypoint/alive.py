"""The agent's sign of life: valid for some seconds, whatever happens to the wall clock by which NGINX reads it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from entrypoint.edges.status_files import StatusFiles

log = logging.getLogger("certfront")

_LOOK = 1.0  # seconds between looks at the clocks: for as long, at most, NGINX may say that the agent is not alive
_STEP = 1.0  # seconds by which one clock leaves the other behind that are a step, and no drift


class Alive:
    """The sign of life. ``wall`` returns UNIX times, ``monotonic`` times of a clock that nobody sets: seconds."""

    def __init__(self, files: StatusFiles, wall: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._files, self._wall, self._monotonic = files, wall, monotonic
        self._until = self._between = 0.0

    def go_on(self, seconds: float) -> None:
        """Give a sign of life that is valid for ``seconds`` from now. Raises OSError."""
        self._until = self._monotonic() + seconds
        self._mark()

    def _mark(self) -> None:
        now, wall = self._monotonic(), self._wall()
        self._files.alive(wall, wall + max(0.0, self._until - now))
        self._between = wall - now

    def follow_the_clock(self, loop: asyncio.AbstractEventLoop) -> None:
        """Compare the clocks each second, as long as the loop runs."""
        self.look()
        loop.call_later(_LOOK, self.follow_the_clock, loop)

    def look(self) -> None:
        """Give the sign of life anew after a step of the wall clock, with the same end."""
        now = self._monotonic()
        if now < self._until and abs(self._wall() - now - self._between) > _STEP:
            try:
                self._mark()
            except OSError as error:  # the next cycle says it louder
                log.debug("CERTFRONT_RUN_DIR: the status cannot be written: %s", error)
