"""A plan made live, whole or in smaller parts; what was refused is tried again only now and then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from entrypoint import editions
from entrypoint.check import Found, running
from entrypoint.core.generation import variants
from entrypoint.core.generation.gate import Refusals
from entrypoint.core.generation.pairs import wanted
from entrypoint.core.generation.plan import Plan
from entrypoint.core.generation.retries import Retries
from entrypoint.core.model import Problem, Refused
from entrypoint.core.x509.credential import Credential
from entrypoint.edges.generations import Generation
from entrypoint.news import News
from entrypoint.pairs import Pairs, remember
from entrypoint.rollout import Rollout
from entrypoint.stored import passwords_of


class Attempts:
    """What came of the plans of one agent, and what of the last one runs.

    ``gated`` are the pairs whose servers NGINX refused or that it did not present; ``commented_out`` and ``warnings``
    name places in the user's files. ``clock`` is one that nobody sets, in seconds. ``reloaded`` is called with the
    milliseconds that a reload took.
    """

    def __init__(
        self, rollout: Rollout, pairs: Pairs, clock: Callable[[], float], reloaded: Callable[[float], None]
    ) -> None:
        self.rollout, self.pairs, self.clock, self.reloaded = rollout, pairs, clock, reloaded
        self.generations = rollout.generations
        self.kept = True
        self.retries = Retries(pairs.settings.check_interval)
        self.gated: Mapping[str, Problem] = {}
        self.commented_out: Mapping[str, str] = {}
        self.warnings: tuple[tuple[str, str], ...] = ()
        self.news = News(pairs.source)
        self._remarked: tuple[int, tuple[tuple[str, str], ...]] = (0, ())

    def live(self, plan: Plan) -> tuple[Plan, Generation] | None:
        """The plan, without what is known to be refused, and its generation, where that is what is live."""
        plan = self.retries.possible(plan, self.clock())
        current = self.generations.current()
        if not current or not self._is_live(current, self.retries.digest(plan)):
            return None
        self._note(replace(plan, remarks=self._remarks(current)))
        self.kept = True
        return plan, current

    async def make_live(self, plan: Plan, looks: Mapping[str, Found], cause: str) -> Problem | None:
        """Make the plan live, or else smaller ones; returns why it could not be.

        Where it is the user's change that is refused, what ran before goes on, and its pairs are renewed: ``kept``.
        """
        plan = self.retries.possible(plan, self.clock())
        current, last = self.generations.current(), self._last(plan)
        refused = self.retries.refusal(plan, last, self.clock())
        failure = refused or await self._applied(plan, looks, cause)
        if failure and not refused:
            self.retries.refused(plan, last, failure, self.clock())
        self.kept = not failure or (last is not None and await self._goes_on(last, looks, cause))
        if not (self.kept or refused):
            await self._parts(plan, current, looks, cause)
        return failure

    async def _parts(self, plan: Plan, current: Generation | None, looks: Mapping[str, Found], cause: str) -> None:
        """Without the user's files where none of them runs anyway; each of several changes alone."""
        if plan.source and not (current and current.manifest.source):
            await self._part(replace(plan, source=None), looks, cause)
            return
        for identity in variants.changes(plan, self._running()):
            await self._part(variants.one_change(plan, identity, self._running()), looks, cause)

    async def _part(self, part: Plan, looks: Mapping[str, Found], cause: str) -> None:
        live = self.generations.current()
        if live and self._is_live(live, part.digest):
            self._note(replace(part, remarks=self._remarks(live)))
        else:
            await self._applied(part, looks, cause)

    def _running(self) -> dict[str, Credential | None]:
        return {slot.identity: running(slot) for slot in self.pairs.slots}

    def _is_live(self, current: Generation, digest: str) -> bool:
        """Whether what is current is that plan; the way back from one that was refused may have failed."""
        return current.manifest.digest == digest and not self.generations.is_refused(current)

    def _last(self, plan: Plan) -> Plan | None:
        """The plan with as much of the user's configuration as ran last; None where that is the same, or not known."""
        current = self.generations.current()
        source = editions.last(self.generations, plan.source)
        refusals = current.manifest.refusals if current else Refusals()
        if not source or (source is plan.source and refusals == plan.refusals):
            return None
        usable = {}
        for identity in (pair.identity for pair in wanted(plan.settings, source)):
            if found := plan.usable.get(identity) or self.generations.stored(identity):
                usable[identity] = found
        return replace(plan, source=source, usable=usable, refusals=refusals)

    async def _goes_on(self, last: Plan, looks: Mapping[str, Found], cause: str) -> bool:
        """Whether all of what ran last does, with the pairs as they are now."""
        current = self.generations.current()
        if current and self._is_live(current, last.digest):
            self._note(replace(last, remarks=self._remarks(current)))
            return True
        if self.retries.fallback_refusal(last, self.clock()):
            return False
        failure = await self._applied(last, looks, cause)
        if failure:
            self.retries.fallback_refused(last, failure, self.clock())
            await self._parts(last, current, looks, cause)
        return not failure

    async def _applied(self, plan: Plan, looks: Mapping[str, Found], cause: str) -> Problem | None:
        slots = self.pairs.slots
        known = passwords_of(slots)
        try:
            applied, spent, failed = await self.rollout.apply(plan, known, cause)
        except Refused as error:
            return error.problem
        self.retries.live(plan, applied, failed, self.clock())
        plan = applied
        self._note(plan)
        if spent is not None:
            self._say_change(plan)
            self.reloaded(spent)
        remember(slots, plan, looks)
        return None

    def _say_change(self, plan: Plan) -> None:
        """News where the configuration as it is now runs, and not another in its place."""
        live = self.generations.current()
        if live and plan.source is self.pairs.source and plan.source is not self.news.source:
            self.news.taken_up(plan.source, live.number)

    def _remarks(self, current: Generation) -> tuple[tuple[str, str], ...]:
        """What NGINX warned of in what is live, read once."""
        if self._remarked[0] != current.number:
            self._remarked = current.number, self.generations.remarks(current)
        return self._remarked[1]

    def proved(self, plan: Plan) -> None:
        """What ran before this process did is proved."""
        self._note(plan)
        remember(self.pairs.slots, plan, {})

    def _note(self, plan: Plan) -> None:
        """What of the user's configuration does not run, and what is said of it besides."""
        self.gated, self.commented_out = plan.gate.gated_pairs, plan.gate.users_part
        self.gated = {**self.gated, **self.retries.held_back}
        self.warnings = (*plan.warnings(), *self.rollout.prover.warnings)
        for slot in self.pairs.slots:
            slot.unproved = self.rollout.prover.details.get(slot.identity, "")
        self.news.runs(plan)
