"""What of the plan that runs is proved, asked again where it may have changed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from entrypoint import verify
from entrypoint.core.conf.configuration import Source
from entrypoint.core.generation.gate import Refusals
from entrypoint.core.generation.handshakes import At, Edited, Shown
from entrypoint.core.generation.pairs import PairSpec
from entrypoint.core.generation.plan import Plan
from entrypoint.edges import nginx
from entrypoint.verify import Address

log = logging.getLogger("certfront")

_POLL = 0.005  # seconds
_TIMEOUT = 10.0  # seconds for old workers to go
_UNSEEN = 0.5  # seconds for old workers to go, on a machine that does not show them


@dataclass
class Prover:
    """What runs, and what handshakes have said of it.

    ``running`` are its pairs, None until this process has proved it; ``source`` is the user's configuration, and
    ``refusals`` what NGINX refuses of that. ``warnings`` are the servers whose pair no handshake proves: where each is,
    and why. ``details`` has, by its identity, why a pair is proved nowhere. ``open`` are the addresses and ports at
    which the user's servers take connections.
    """

    run_dir: Path
    running: tuple[PairSpec, ...] | None = None
    source: Source | None = None
    refusals: Refusals = field(default_factory=Refusals)
    shown: Shown = field(default_factory=Shown)
    open: frozenset[Address] = frozenset()
    warnings: tuple[tuple[str, str], ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)

    async def prove(self, plan: Plan, unchanged: Collection[str]) -> None:
        """Ask for the plan's chains at their doors, once NGINX has switched to it.

        Pairs that are ``unchanged``, by their identity, are asked for again only where something else changed as well.
        Raises `verify.NotServed`, or `Refused` where a socket that was open and is still wanted is closed.
        """
        renewal = self._same_servers(plan)
        pairs = [pair for pair in plan.gate.running if not renewal or pair.identity not in unchanged]
        asked = await verify.presented(plan, pairs, self._open_before(plan))
        if asked.failed:
            raise verify.NotServed(asked.failed)
        self.open = self.open if renewal else await verify.connected(plan, self.open)
        self.running, self.source, self.refusals = plan.gate.running, plan.source, plan.refusals
        self.shown = self.shown.with_more(asked, plan.gate.running)
        self._say(plan.gate.running)

    def _same_servers(self, plan: Plan) -> bool:
        """Whether the same servers run as before: then only chains are new."""
        return plan.source is self.source and plan.refusals == self.refusals and plan.gate.running == self.running

    def _open_before(self, plan: Plan) -> set[At]:
        edited = Edited(self.source, plan.source)
        return {(identity, door) for identity, door in self.shown.proved if not edited.concerns(door.place)}

    def _say(self, pairs: tuple[PairSpec, ...]) -> None:
        known, self.warnings = self.warnings, tuple(self.shown.warnings(pairs))
        self.details = {pair.identity: detail for pair in pairs if (detail := self.shown.detail(pair))}
        for where, why in self.warnings:
            if (where, why) not in known:
                log.warning("%s: %s", where, why)

    async def old_workers_gone(self, old: frozenset[int] | None) -> None:
        """Wait until the ``old`` workers take no connections; None where NGINX was not asked to reload."""
        deadline = time.monotonic() + _TIMEOUT
        if old is not None and not old:
            await asyncio.sleep(_UNSEEN)
        while old and old & self.workers() and time.monotonic() < deadline:
            await asyncio.sleep(_POLL)

    def workers(self) -> frozenset[int]:
        """NGINX's workers that take connections now."""
        return nginx.accepting_workers(self.run_dir / "nginx.pid")
