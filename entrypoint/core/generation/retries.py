"""The memory of refused plans and held-back pairs, and the time of the next try."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from entrypoint.core import schedule
from entrypoint.core.generation.gate import Refusals
from entrypoint.core.generation.plan import Plan
from entrypoint.core.generation.variants import instead
from entrypoint.core.model import Outcome, Problem
from entrypoint.core.schedule import Retry
from entrypoint.core.x509.credential import Credential


class Retries:
    """The memory of refusals. ``interval`` is the time between checks, ``now`` of a monotonic clock, in seconds.

    ``held_back`` has the reasons of the pairs that NGINX did not present, by identity: the credentials before stay
    live. ``fallbacks`` is the memory of the last configuration with new credentials, by the plan's digest.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self.fallbacks: Retry[Problem] = Retry(schedule.retry_refused, interval)
        self._wholes: Retry[Problem] = Retry(schedule.retry_refused, interval)
        self._editions: Retry[Problem] = Retry(schedule.retry_refused, interval)
        self._parts: Retry[Refusals] = Retry(schedule.retry_gated, interval)
        self._pairs: dict[str, Retry[tuple[Credential | None, str]]] = {}
        self.held_back: Mapping[str, Problem] = {}
        self._digests: dict[bool, tuple[object, object, object, str]] = {}

    def forget(self) -> None:
        """Permit the next try at once, after a change or a request."""
        for retry in (self._wholes, self._editions, self.fallbacks, self._parts):
            retry.forget()
        self._pairs = {}

    def pauses(self, now: float) -> list[float]:
        """The seconds until NGINX is asked again about refused parts and held-back pairs."""
        moments = [retry.until for retry in self._pairs.values()]
        moments += [self._parts.until] if self._parts.value else []
        return [rest for moment in moments if (rest := moment - now) > 0]

    def possible(self, plan: Plan, now: float) -> Plan:
        """The plan without known refusals, and with the previous credentials of held-back pairs.

        Ciphers that NGINX refused once stay left out: it will not learn them.
        """
        plan = self._without_held_back(plan, now)
        digest = self.digest(plan)
        known = self._parts.known(digest)
        refusals = self._parts.still(digest, now) or (known and Refusals(settings=known.settings))
        return replace(plan, refusals=refusals) if refusals else plan

    def _without_held_back(self, plan: Plan, now: float) -> Plan:
        held = {
            identity: one
            for identity, retry in self._pairs.items()
            if identity in plan.usable and (one := retry.still(_digest(plan.usable[identity]), now))
        }
        details = {identity: detail for identity, (_, detail) in held.items()}
        self.held_back = {identity: Problem(Outcome.NOT_SERVED, detail) for identity, detail in details.items()}
        return instead(plan, {identity: before for identity, (before, _) in held.items()}, details) if held else plan

    def live(self, plan: Plan, applied: Plan, failed: Mapping[str, str], now: float) -> None:
        """Remember that ``applied``, a part of the ``plan``, is live: pairs ``failed``, or NGINX refused parts."""
        for identity, detail in failed.items():
            retry = self._pairs.setdefault(identity, Retry(schedule.retry_refused, self._interval))
            retry.add(_digest(plan.usable[identity]), (applied.usable.get(identity), detail), now)
            self.held_back = {**self.held_back, identity: Problem(Outcome.NOT_SERVED, detail)}
        if applied.refusals:
            self._parts.add(replace(applied, refusals=Refusals()).digest, applied.refusals, now)

    def refusal(self, plan: Plan, last: Plan | None, now: float) -> Problem | None:
        """Why the plan is not tried now. ``last`` is the plan with the user's configuration before the change."""
        return self._wholes.still(self.digest(plan), now) or self._editions.still(_edition(plan, last), now)

    def refused(self, plan: Plan, last: Plan | None, problem: Problem, now: float) -> None:
        """Remember that the plan was refused as a whole, or not presented."""
        self._wholes.add(self.digest(plan), problem, now)
        edition = _edition(plan, last)
        if edition and problem.outcome is Outcome.RELOAD_FAILED:
            self._editions.add(edition, problem, now)

    def digest(self, plan: Plan) -> str:
        """The plan's digest, cached: to render the plan of the last cycle again would be most of an idle check."""
        usable, user, refusals, digest = self._digests.get(bool(plan.refusals), (None, None, None, ""))
        if plan.user is not user or plan.usable != usable or plan.refusals != refusals:
            digest = plan.digest
            self._digests[bool(plan.refusals)] = plan.usable, plan.user, plan.refusals, digest
        return digest


def _edition(plan: Plan, last: Plan | None) -> str:
    """A hash of the user's files, where other ones ran last; otherwise empty."""
    if plan.user.packaged or not last:
        return ""
    return hashlib.sha256(repr(sorted(plan.user.texts.items())).encode()).hexdigest()


def _digest(usable: Credential) -> str:
    return usable.chain_hash + usable.key_hash
