"""What becomes of the user's configuration, for the log: each piece of news once, in one line."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping

from entrypoint.core.conf.configuration import Source
from entrypoint.core.generation.plan import Plan
from entrypoint.core.model import Problem

log = logging.getLogger("certfront")

_MOST_NAMES = 3


class News:
    """What was said before. ``source`` is what runs at the beginning."""

    def __init__(self, source: Source | None) -> None:
        self.source = source
        self.refused: Mapping[str, str] = {}
        self.warned: frozenset[str] = frozenset()
        self.problem = ""
        self._seen: tuple[object, ...] = ()

    def runs(self, plan: Plan) -> None:
        """A plan is live: NGINX's warnings, and what was refused before."""
        if (plan.source, plan.refusals, plan.remarks) == self._seen:
            return
        self._seen = plan.source, plan.refusals, plan.remarks
        self._warnings(plan.remarks)
        refused = plan.gate.refused.users_part
        for where in _running_again(plan, self.refused.keys() - refused.keys(), refused):
            log.info("%s: runs again", where)
        self.refused = refused

    def taken_up(self, source: Source | None, number: int) -> None:
        """The configuration as it is now came to be live with a generation."""
        changed = sorted(_changed(self.source, source))
        self.source = source
        if changed:
            more = f" and {len(changed) - _MOST_NAMES} more" if len(changed) > _MOST_NAMES else ""
            log.info("the change of %s%s is live: generation %d", ", ".join(changed[:_MOST_NAMES]), more, number)

    def whole(self, problem: Problem | None) -> None:
        """Whether the configuration is refused as a whole."""
        before, self.problem = self.problem, problem.detail if problem else ""
        if self.problem not in ("", before):
            log.error("the configuration is refused as a whole: %s; what ran last is kept", self.problem)
        if before and not problem:
            log.info("the configuration is accepted again")

    def _warnings(self, remarks: Iterable[tuple[str, str]]) -> None:
        places: dict[str, list[str]] = {}
        for where, why in remarks:
            places.setdefault(why, []).append(where)
        for why in places.keys() - self.warned:
            many = len(places[why]) - 1
            more = f" (and {many} places more, see `certfront status`)" if many else ""
            log.warning("NGINX warns: %s: %s%s", places[why][0], why, more)
        self.warned = frozenset(places)


def _running_again(plan: Plan, before: Iterable[str], refused: Iterable[str]) -> Iterator[str]:
    """Of the places that were refused before those where something is that runs: others were removed, or moved."""
    if not plan.source:
        return
    still = {where.rpartition(":")[0] for where in refused} | set(refused)
    servers = {server.where for server in plan.source.configuration.servers}
    for where in sorted(before):
        file = where if where in plan.source.texts else where.rpartition(":")[0]
        if where in servers or (file in plan.source.texts and file not in still):
            yield where


def _changed(before: Source | None, now: Source | None) -> set[str]:
    """The files that differ."""
    old, new = (dict(source.texts) if source else {} for source in (before, now))
    return {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}
