"""A plan made live, whole or in smaller parts; what was refused is tried again only now and then."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from entrypoint import editions
from entrypoint.check import Found, running
from entrypoint.core import schedule
from entrypoint.core.generation import blame
from entrypoint.core.generation.gate import Gates
from entrypoint.core.generation.plan import Plan, Usable, wanted
from entrypoint.core.model import Outcome, Problem, Refused
from entrypoint.edges.generations import Generation
from entrypoint.held import Held
from entrypoint.news import News
from entrypoint.pairs import Pairs, remember
from entrypoint.rollout import Remembered, Rollout
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
        self.generations, self.interval = rollout.generations, pairs.settings.check_interval
        self.refusals: Remembered[Problem] = Remembered(schedule.retry_refused)
        self.edits: Remembered[Problem] = Remembered(schedule.retry_refused)
        self.fallbacks: Remembered[Problem] = Remembered(schedule.retry_refused)
        self.kept = True
        self.gates: Remembered[Gates] = Remembered(schedule.retry_gated)
        self.held = Held()
        self.gated: Mapping[str, Problem] = {}
        self.commented_out: Mapping[str, str] = {}
        self.warnings: tuple[tuple[str, str], ...] = ()
        self.news = News(pairs.source)
        self._remarked: tuple[int, tuple[tuple[str, str], ...]] = (0, ())
        self._digested: dict[bool, tuple[object, object, object, str]] = {}

    def forget(self) -> None:
        """Let the next try come at once: something changed, or somebody asks for it."""
        for memory in (self.refusals, self.edits, self.fallbacks):
            memory.forget()
        self.gates.forget()
        self.held.forget()

    def due(self) -> list[float]:
        """In how many seconds NGINX is to be asked again for what it refused a part of, or did not present."""
        moments = [*self.held.due(), *([self.gates.until] if self.gates.value else [])]
        return [rest for moment in moments if (rest := moment - self.clock()) > 0]

    def live(self, plan: Plan) -> tuple[Plan, Generation] | None:
        """The plan, without what is known to be refused, and its generation, where that is what is live."""
        plan, digest = self._without_refused(plan)
        current = self.generations.current()
        if not current or not self._is_live(current, digest):
            return None
        self._note(replace(plan, remarks=self._remarks(current)))
        self.kept = True
        return plan, current

    async def make_live(self, plan: Plan, looks: Mapping[str, Found], cause: str) -> Problem | None:
        """Make the plan live, or else smaller ones; returns why it could not be.

        Where it is the user's change that is refused, what ran before goes on, and its pairs are renewed: ``kept``.
        """
        plan, digest = self._without_refused(plan)
        current, last = self.generations.current(), self._last(plan)
        edition = last and plan.source and hashlib.sha256(repr(sorted(plan.source.texts.items())).encode()).hexdigest()
        refused = self.refusals.still(digest, self.clock()) or self.edits.still(edition or "", self.clock())
        failure = refused or await self._applied(plan, looks, cause)
        if failure and not refused:
            self.refusals.add(digest, failure, self.clock(), self.interval)
            if edition and failure.outcome is Outcome.RELOAD_FAILED:
                self.edits.add(edition, failure, self.clock(), self.interval)
        self.kept = not failure or (last is not None and await self._goes_on(last, looks, cause))
        if not (self.kept or refused):
            await self._parts(plan, current, looks, cause)
        return failure

    async def _parts(self, plan: Plan, current: Generation | None, looks: Mapping[str, Found], cause: str) -> None:
        for alone in self._smaller(plan, current):
            live = self.generations.current()
            if live and self._is_live(live, alone.digest):
                self._note(replace(alone, remarks=self._remarks(live)))
            else:
                await self._applied(alone, looks, cause)

    def _is_live(self, current: Generation, digest: str) -> bool:
        """Whether what is current is that plan; the way back from one that was refused may have failed."""
        return current.manifest.get("digest") == digest and not self.generations.is_refused(current)

    def _last(self, plan: Plan) -> Plan | None:
        """The plan with as much of the user's configuration as ran last; None where that is the same, or not known."""
        current = self.generations.current()
        source = editions.last(self.generations, plan.source)
        gates = Gates.from_json(current.manifest.get("gates", {}) if current else {})
        if not source or (source is plan.source and gates == plan.gates):
            return None
        usable = {}
        for identity in (pair.identity for pair in wanted(plan.settings, source)):
            stored = None if identity in plan.usable else self.generations.stored(identity)
            if found := plan.usable.get(identity) or (Usable(stored[1], stored[2], stored[0]) if stored else None):
                usable[identity] = found
        return replace(plan, source=source, usable=usable, gates=gates)

    async def _goes_on(self, last: Plan, looks: Mapping[str, Found], cause: str) -> bool:
        """Whether all of what ran last does, with the pairs as they are now."""
        current, digest = self.generations.current(), last.digest
        if current and self._is_live(current, digest):
            self._note(replace(last, remarks=self._remarks(current)))
            return True
        if self.fallbacks.still(digest, self.clock()):
            return False
        failure = await self._applied(last, looks, cause)
        if failure:
            self.fallbacks.add(digest, failure, self.clock(), self.interval)
            await self._parts(last, current, looks, cause)
        return not failure

    def _without_refused(self, plan: Plan) -> tuple[Plan, str]:
        """The plan without what is known to be refused or not to be presented, and its digest.

        Ciphers that NGINX refused once stay left out: it will not learn them.
        """
        plan = self.held.without(plan, self.clock())
        digest = self._digest(plan)
        known = self.gates.known(digest)
        if gates := self.gates.still(digest, self.clock()) or (known and Gates(settings=known.settings)):
            plan = replace(plan, gates=gates)
            digest = self._digest(plan)
        return plan, digest

    async def _applied(self, plan: Plan, looks: Mapping[str, Found], cause: str) -> Problem | None:
        slots = self.pairs.slots
        known = passwords_of(slots)
        try:
            applied, spent, failed = await self.rollout.apply(plan, known, cause)
        except Refused as error:
            return error.problem
        self.held.add(plan, applied, failed, self.clock(), self.interval)
        plan = applied
        if plan.gates:
            whole = replace(plan, gates=Gates()).digest
            self.gates.add(whole, plan.gates, self.clock(), self.interval)
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
        self.gated, self.commented_out = blame.gated_pairs(plan), plan.users_commented_out()
        self.gated = {**self.gated, **self.held.problems}
        self.warnings = (*plan.warnings(), *self.rollout.prover.warnings)
        for slot in self.pairs.slots:
            slot.unproved = self.rollout.prover.details.get(slot.identity, "")
        self.news.runs(plan)

    def _smaller(self, plan: Plan, current: Generation | None) -> Iterator[Plan]:
        """Without the user's files where none of them runs anyway; each of several changes alone."""
        if plan.source and not (current and current.manifest.get("source")):
            yield replace(plan, source=None)
            return
        slots = self.pairs.slots
        changed = [slot.identity for slot in slots if plan.usable.get(slot.identity) != running(slot)]
        for identity in changed if len(changed) > 1 else []:
            live = {slot.identity: kept for slot in slots if (kept := running(slot))}
            if identity in plan.usable:
                yield replace(plan, usable={**live, identity: plan.usable[identity]})

    def _digest(self, plan: Plan) -> str:
        """The plan's digest; rendering it again for the pairs of the last cycle would be most of an idle check."""
        usable, source, gates, digest = self._digested.get(bool(plan.gates), (None, None, None, ""))
        if plan.source is not source or plan.usable != usable or plan.gates != gates:
            digest = plan.digest
            self._digested[bool(plan.gates)] = plan.usable, plan.source, plan.gates, digest
        return digest
