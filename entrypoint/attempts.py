"""The attempts to make a plan live: the whole plan, the last configuration with new credentials, single changes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from entrypoint.core.generation import variants
from entrypoint.core.generation.ending import Ending
from entrypoint.core.generation.gate import Refusals
from entrypoint.core.generation.managed import Found
from entrypoint.core.generation.news import News
from entrypoint.core.generation.pairs import wanted
from entrypoint.core.generation.plan import Plan
from entrypoint.core.generation.retries import Retries
from entrypoint.core.model import Problem, Refused
from entrypoint.core.x509.credential import Credential
from entrypoint.edges.generations import Generation
from entrypoint.log import say
from entrypoint.pairs import Pairs
from entrypoint.rollout import Rollout

log = logging.getLogger("certfront")


class Attempts:
    """The attempts of one agent, and the state of the plan that is live.

    ``gated`` are the pairs that no server presents, because their servers are refused or they are held back.
    ``commented_out`` and ``warnings`` name places in the user's files. ``clock`` is monotonic, in seconds; ``problem``
    is the fault of the user's configuration that is in the log already.
    """

    def __init__(self, rollout: Rollout, pairs: Pairs, clock: Callable[[], float], problem: str) -> None:
        self.rollout, self.pairs, self.clock = rollout, pairs, clock
        self.generations = rollout.generations
        self.retries = Retries(pairs.settings.check_interval)
        self.news = News(pairs.user, problem)
        self.gated: Mapping[str, Problem] = {}
        self.commented_out: Mapping[str, str] = {}
        self.warnings: tuple[tuple[str, str], ...] = ()
        self._spent: float | None = None
        self._remarked: tuple[int, tuple[tuple[str, str], ...]] = (0, ())

    def pauses(self) -> list[float]:
        """The seconds until NGINX is asked again about refused parts and held-back pairs."""
        return self.retries.pauses(self.clock())

    async def run(self, plan: Plan, findings: Mapping[str, Found], cause: str) -> Ending:
        """Make the plan live as far as possible. ``findings`` are the checks' results, ``cause`` is for people."""
        self._spent, failure, goes_on = None, None, True
        plan = self.retries.possible(plan, self.clock())
        if live := self._live(plan, self.retries.digest(plan)):
            await self._keep(live)
        else:
            failure, goes_on = await self._tried(plan, findings, cause)
        current = self.generations.current()
        number = current.number if current else 0
        ending = Ending(self.pairs.problem or failure, goes_on, self.gated, number, self._spent)
        say(self.news.of_whole(ending.rejected))
        return ending

    def _live(self, plan: Plan, digest: str) -> Plan | None:
        """The plan with NGINX's warnings, if it is the live generation's; its state is noted then."""
        current = self.generations.current()
        if not current or current.manifest.digest != digest:
            return None
        if self.generations.is_refused(current):
            return None  # the way back from it has failed
        if self._remarked[0] != current.number:
            self._remarked = current.number, self.generations.remarks(current)
        plan = replace(plan, remarks=self._remarked[1])
        self._note(plan)
        return plan

    async def _keep(self, plan: Plan) -> None:
        try:
            if await self.rollout.keep(plan):
                self._note(plan)
                self.pairs.note_live(plan, {})
        except Refused as error:
            log.error("%s", error)

    async def _tried(self, plan: Plan, findings: Mapping[str, Found], cause: str) -> tuple[Problem | None, bool]:
        """Why the whole plan is not live, and whether the last configuration with new credentials is live instead."""
        current, last = self.generations.current(), self._last(plan)
        resting = self.retries.refusal(plan, last, self.clock())
        failure = resting or await self._applied(plan, findings, cause)
        if failure and not resting:
            self.retries.refused(plan, last, failure, self.clock())
        goes_on = not failure or (last is not None and await self._goes_on(last, findings, cause))
        if not (goes_on or resting):
            await self._smaller(plan, current, findings, cause)
        return failure, goes_on

    def _last(self, plan: Plan) -> Plan | None:
        """The plan with the user's configuration that ran last; None if that is the same, or unknown."""
        current = self.generations.current()
        user = plan.user.stored(self.generations.source())
        refusals = current.manifest.refusals if current else Refusals()
        if not user or (user is plan.user and refusals == plan.refusals):
            return None
        usable = {}
        for identity in (pair.identity for pair in wanted(plan.settings, user)):
            if found := plan.usable.get(identity) or self.generations.stored(identity):
                usable[identity] = found
        return replace(plan, user=user, usable=usable, refusals=refusals)

    async def _goes_on(self, last: Plan, findings: Mapping[str, Found], cause: str) -> bool:
        """Whether the last configuration runs with the credentials of now."""
        current = self.generations.current()
        if self._live(last, last.digest):
            return True
        if self.retries.fallbacks.still(last.digest, self.clock()):
            return False
        failure = await self._applied(last, findings, cause)
        if failure:
            self.retries.fallbacks.add(last.digest, failure, self.clock())
            await self._smaller(last, current, findings, cause)
        return not failure

    async def _smaller(self, plan: Plan, current: Generation | None, findings: Mapping[str, Found], cause: str) -> None:
        """Try the plan without the user's files, if none of them runs anyway; else each of several changes alone."""
        if not plan.user.packaged and not (current and current.manifest.source):
            await self._one(variants.without_users(plan), findings, cause)
            return
        for identity in variants.changes(plan, self._running()):
            await self._one(variants.one_change(plan, identity, self._running()), findings, cause)

    async def _one(self, smaller: Plan, findings: Mapping[str, Found], cause: str) -> None:
        if not self._live(smaller, smaller.digest):
            await self._applied(smaller, findings, cause)

    def _running(self) -> dict[str, Credential | None]:
        return {pair.identity: pair.running for pair in self.pairs.managed}

    async def _applied(self, plan: Plan, findings: Mapping[str, Found], cause: str) -> Problem | None:
        """Roll a plan out, and note the part that is live then; returns why nothing of it is."""
        try:
            applied = await self.rollout.apply(plan, self.pairs.passwords(), cause)
        except Refused as error:
            return error.problem
        self.retries.live(plan, applied.plan, applied.failed, self.clock())
        self._note(applied.plan)
        if applied.spent is not None:
            self._spent = applied.spent
            if applied.plan.user is self.pairs.user:  # and not another in its place
                say(self.news.of_change(applied.plan.user, applied.generation.number))
        self.pairs.note_live(applied.plan, findings)
        return None

    def _note(self, plan: Plan) -> None:
        """Note gated parts, warnings and unproved pairs of the live plan."""
        self.gated = {**plan.gate.gated_pairs, **self.retries.held_back}
        self.commented_out = plan.gate.users_part
        self.warnings = (*plan.warnings(), *self.rollout.prover.warnings)
        self.pairs.note_unproved(self.rollout.prover.details)
        say(self.news.of_live(plan))
