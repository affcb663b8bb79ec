"""Pairs that NGINX did not present: what ran before goes on in their place, and they are tried again now and then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from entrypoint.core import schedule
from entrypoint.core.generation.plan import Plan, Usable
from entrypoint.core.generation.variants import instead
from entrypoint.core.model import Outcome, Problem
from entrypoint.rollout import Remembered


class _Held(NamedTuple):
    instead: Usable | None
    problem: Problem


class Held:
    """What is held back of the plans of one agent."""

    def __init__(self) -> None:
        self._pairs: dict[str, Remembered[_Held]] = {}
        self.problems: Mapping[str, Problem] = {}

    def forget(self) -> None:
        """Let the next try come at once: something changed, or somebody asks for it."""
        self._pairs = {}

    def due(self) -> list[float]:
        """When the next tries come, by the clock that tells what is ``now``."""
        return [remembered.until for remembered in self._pairs.values()]

    def add(self, whole: Plan, plan: Plan, failed: Mapping[str, str], now: float, interval: float) -> None:
        """Remember that of the ``whole`` plan some pairs ``failed``, and that ``plan`` runs instead."""
        for identity, detail in failed.items():
            one = _Held(plan.usable.get(identity), Problem(Outcome.NOT_SERVED, detail))
            remembered = self._pairs.setdefault(identity, Remembered(schedule.retry_refused))
            remembered.add(_digest(whole.usable[identity]), one, now, interval)
            self.problems = {**self.problems, identity: one.problem}

    def without(self, plan: Plan, now: float) -> Plan:
        """The plan with what is served instead of the pairs that are held back; ``problems`` then says why."""
        held = {
            identity: one
            for identity, remembered in self._pairs.items()
            if identity in plan.usable and (one := remembered.still(_digest(plan.usable[identity]), now))
        }
        self.problems = {identity: one.problem for identity, one in held.items()}
        if not held:
            return plan
        details = {identity: problem.detail for identity, problem in self.problems.items()}
        return instead(plan, {identity: one.instead for identity, one in held.items()}, details)


def _digest(usable: Usable) -> str:
    return usable.chain_hash + usable.key_hash
