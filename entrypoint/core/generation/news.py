"""News about the user's configuration, for the log: each once, in one line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from entrypoint.core.conf.configuration import UserConfig
from entrypoint.core.generation.plan import Plan
from entrypoint.core.model import Problem

_MOST_NAMES = 3


class Line(NamedTuple):
    """A line for the log, with its level."""

    level: Literal["debug", "info", "warning", "error"]
    text: str


class News:
    """The known state. ``user`` is the running configuration at the beginning, ``problem`` its known fault."""

    def __init__(self, user: UserConfig, problem: str = "") -> None:
        self._user, self._problem = user, problem
        self._refused: Mapping[str, str] = {}
        self._warned: frozenset[str] = frozenset()
        self._seen: tuple[object, ...] = ()

    def of_live(self, plan: Plan) -> list[Line]:
        """The news about a live plan: NGINX's warnings, and formerly refused parts that run again."""
        if (plan.user, plan.refusals, plan.remarks) == self._seen:
            return []
        self._seen = plan.user, plan.refusals, plan.remarks
        warnings = self._of_warnings(plan.remarks)
        refused = plan.gate.refused.users_part
        again = [Line("info", f"{where}: runs again") for where in _running_again(plan, self._refused, refused)]
        self._refused = refused
        return warnings + again

    def of_change(self, user: UserConfig, number: int) -> list[Line]:
        """The news that the current configuration is live with a generation."""
        changed = sorted(_changed(self._user, user)) if user is not self._user else []
        self._user = user
        if not changed:
            return []
        more = f" and {len(changed) - _MOST_NAMES} more" if len(changed) > _MOST_NAMES else ""
        return [Line("info", f"the change of {', '.join(changed[:_MOST_NAMES])}{more} is live: generation {number}")]

    def of_whole(self, problem: Problem | None) -> list[Line]:
        """The news that the configuration is refused as a whole, or accepted again."""
        before, self._problem = self._problem, problem.detail if problem else ""
        if self._problem not in ("", before):
            text = f"the configuration is refused as a whole: {self._problem}; what ran last is kept"
            return [Line("error", text)]
        return [Line("info", "the configuration is accepted again")] if before and not problem else []

    def _of_warnings(self, remarks: Iterable[tuple[str, str]]) -> list[Line]:
        places: dict[str, list[str]] = {}
        for where, why in remarks:
            places.setdefault(why, []).append(where)
        fresh = [(why, found) for why, found in places.items() if why not in self._warned]
        self._warned = frozenset(places)
        return [Line("warning", f"NGINX warns: {found[0]}: {why}{_more(len(found) - 1)}") for why, found in fresh]


def _more(places: int) -> str:
    return f" (and {places} places more, see `certfront status`)" if places else ""


def _running_again(plan: Plan, before: Iterable[str], refused: Iterable[str]) -> Iterator[str]:
    """The formerly refused places at which something runs now; other places were removed or moved."""
    still = {where.rpartition(":")[0] for where in refused} | set(refused)
    servers = {server.where for server in plan.user.configuration.servers}
    for where in sorted({*before} - {*refused}):
        file = where if where in plan.user.own else where.rpartition(":")[0]
        if where in servers or (file in plan.user.own and file not in still):
            yield where


def _changed(before: UserConfig, now: UserConfig) -> set[str]:
    """The files that differ."""
    old, new = before.own, now.own
    return {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}
