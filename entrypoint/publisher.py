"""The files that the agent publishes after each cycle: status, readiness, and the sign of life."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from entrypoint.attempts import Attempts
from entrypoint.check import AT_ONCE
from entrypoint.core import status
from entrypoint.core.generation.ending import Ending
from entrypoint.core.generation.managed import ManagedPair
from entrypoint.core.times import rfc3339
from entrypoint.doubts import Doubts
from entrypoint.edges import nginx
from entrypoint.edges.status_files import StatusFiles

log = logging.getLogger("certfront")

_SLACK = 30.0  # seconds that a cycle may take beyond its fetches before health says so
_LOOK = 1.0  # seconds between looks at the clocks: for as long, at most, NGINX may say that the agent is not alive
_STEP = 1.0  # seconds by which one clock leaves the other behind that are a step, and no drift


class Publisher:
    """The publisher of one agent: ``wall`` is the clock, ``monotonic`` one that nobody sets, ``version`` NGINX's."""

    def __init__(
        self,
        attempts: Attempts,
        doubts: Doubts,
        version: Iterable[int],
        wall: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self.attempts, self.pairs, self.doubts, self.wall = attempts, attempts.pairs, doubts, wall
        self.settings = self.pairs.settings
        self.files = StatusFiles(self.settings.run_dir)
        self.alive = Alive(self.files, lambda: wall().timestamp(), monotonic)
        self.nginx: dict[str, Any] = {"version": ".".join(map(str, version)), "running_since": None}
        self.nginx |= {"last_reload_at": None, "last_reload_ms": None}

    def publish(self, ending: Ending, pause: float) -> None:
        """Publish the ending of a cycle; the next one comes within ``pause`` seconds."""
        if ending.spent is not None:
            self.nginx |= {"last_reload_at": rfc3339(self.wall()), "last_reload_ms": round(ending.spent, 1)}
        since = nginx.running_since(self.settings.run_dir / "nginx.pid")
        self.nginx["running_since"] = rfc3339(since) if since else None
        self.doubts.consider(self.pairs.user, certificates=bool(self.pairs.managed))
        rounds = 2 * (len(self.pairs.managed) // AT_ONCE + 1)
        longest = self.settings.timeout * max(1, len(self.settings.certmgr_hosts)) * rounds
        try:
            self.alive.go_on(pause + _SLACK + longest)
            self.files.status(self.status(self.pairs.managed, ending))
            besides = "\n".join(filter(None, [self.doubts.not_ready, self.pairs.not_running(ending.failure)]))
            self.files.readiness(status.not_ready((pair.record for pair in self.pairs.managed), besides))
        except OSError as error:
            log.error("CERTFRONT_RUN_DIR: the status cannot be written: %s", error)

    def status(self, pairs: Iterable[ManagedPair], ending: Ending) -> dict[str, Any]:
        """The status of some of the pairs."""
        current = self.pairs.generations.current()
        return status.status(
            [pair.record for pair in pairs],
            generation=current.number if current else 0,
            nginx=self.nginx,
            now=self.wall(),
            interval=self.settings.check_interval,
            commented_out=self.attempts.commented_out,
            warnings=(
                *self.pairs.generations.warnings,
                *self.doubts.warnings,
                *self.attempts.warnings,
                *self.pairs.warnings(),
                *self.pairs.unseen(),
            ),
            problem=ending.rejected,
        )


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
