"""A plan made live: staged, tested, published, reloaded, proved; otherwise rolled back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from entrypoint.core.generation import blame
from entrypoint.core.generation.handshakes import unchanged
from entrypoint.core.generation.plan import Plan
from entrypoint.core.generation.variants import held_back, made_bare, on_single_addresses
from entrypoint.core.model import Outcome, Refused
from entrypoint.core.x509.credential import Credential
from entrypoint.edges import key_files, nginx
from entrypoint.edges.generations import Generation, Generations
from entrypoint.edges.supervisord import Supervisord
from entrypoint.staging import Stager
from entrypoint.verify import NotServed, Prover

log = logging.getLogger("certfront")

_POLL = 0.005  # seconds
_TIMEOUT = 10.0  # seconds for NGINX to switch
_LOOK = 30.0  # seconds between looks at what runs
_CHANGING_OVER = 10  # answers within half a second: old workers give some for 0.2 s after a reload


class Applied(NamedTuple):
    """The plan that runs now, and the milliseconds from the reload to the proof; None if it ran already.

    ``failed`` are the pairs that were not presented, by identity, with what the handshake saw: the credentials before
    stay live for them.
    """

    plan: Plan
    generation: Generation
    spent: float | None
    failed: Mapping[str, str]


@dataclass
class Rollout:
    """The change of what NGINX serves, in one state folder."""

    program: str
    generations: Generations
    supervisord: Supervisord
    run_dir: Path
    untidy: bool = False
    owed: Generation | None = None  # what should be current again, and could not be made so
    _looked: float = -math.inf

    def __post_init__(self) -> None:
        self.stager = Stager(self.program, self.generations)
        self.prover = Prover(self.run_dir)

    async def apply(self, plan: Plan, known: Iterable[bytes], why: str) -> Applied:
        """Make ``plan`` live, without the parts that NGINX refuses and the pairs that it does not present.

        ``known`` are passwords that open the plan's keys. Raises `Refused` after a rollback to the generation before.
        """
        before, known = self.owed or self.generations.current(), tuple(known)
        failed: dict[str, str] = {}
        while True:
            plan, generation = await self._accepted(plan, known, why)
            if before and generation.number == before.number:
                return Applied(plan, before, None, failed)
            try:
                return Applied(plan, generation, await self._switched(plan, generation, before, why), failed)
            except (Refused, OSError) as error:
                self._roll_back(before, generation, str(error))
                plan = self._without_failed(plan, error, before)
                failed |= error.failed if isinstance(error, NotServed) else {}
                if before and before.manifest.digest == plan.digest:
                    return Applied(plan, before, None, failed)

    # What blocks the loop here took 1 to 5 ms each time, and 50 at most, on two busy cores: a rename with its fsync, a
    # call of supervisord's, a question to NGINX. Nobody waits for the loop then, as who asks for a check waits for the
    # end of the cycle. A call in a thread, right behind another one, may start a second thread, for which there may be
    # no process left: see `Agent.run`.
    async def _switched(self, plan: Plan, generation: Generation, before: Generation | None, why: str) -> float:
        """Make an accepted generation current and prove it. Returns milliseconds."""
        if before and not before.manifest.source and on_single_addresses(plan):
            await self._close_sockets(plan, why)
        self.generations.publish(generation)
        spent = await self.prove(plan, generation, reload=True, before=before)
        self.owed = None
        self._confirm(generation)
        return spent

    async def _close_sockets(self, plan: Plan, why: str) -> None:
        """Close the built-in site's sockets for a moment: NGINX cannot bind one address while a socket has all."""
        bare, generation = await self._accepted(made_bare(plan), (), why)
        self.generations.publish(generation)
        old = self.prover.workers()
        self._reload()
        await self._answers(bare, generation, old)

    def _without_failed(self, plan: Plan, error: Refused | OSError, before: Generation | None) -> Plan:
        """The plan with the credentials before, in place of those that failed.

        Raises `Refused` where a failed credential is the one before: then something else is the cause.
        """
        failed = error.failed if isinstance(error, NotServed) else {}
        kept = {identity: self._kept(before, identity) for identity in failed}
        smaller = held_back(plan, failed, kept)
        if not smaller:
            raise _refused(error) from None
        log.error("not served, and held back: %s", error)
        return smaller

    def _kept(self, before: Generation | None, identity: str) -> Credential | None:
        there = before and identity in before.manifest.pairs
        return self.generations.stored(identity) if there else None

    async def _accepted(self, plan: Plan, known: Iterable[bytes], why: str) -> tuple[Plan, Generation]:
        """The plan that NGINX accepts, and its generation, which may be the live one."""
        offered = self._offered(known)

        def provide(plan: Plan) -> None:
            key_files.provide(plan, offered)

        try:
            return await asyncio.to_thread(self.stager.accepted, plan, why, provide, self.generations.current())
        except OSError as error:
            raise _refused(error) from None

    async def prove(
        self, plan: Plan, generation: Generation, *, reload: bool, before: Generation | None = None
    ) -> float:
        """Reload if asked, and wait for the proof that NGINX runs ``generation`` and presents its chains.

        Chains that were proved with the generation ``before`` are not proved again. Returns milliseconds.
        """
        started = time.monotonic()
        old = self.prover.workers() if reload else None
        if reload:
            self._reload()
        await self._answers(plan, generation, old)
        await self.prover.prove(plan, unchanged(generation.manifest, before.manifest if before else None))
        return (time.monotonic() - started) * 1000

    def _reload(self) -> None:
        nginx.forget_refusals(self.run_dir)
        self.supervisord.reload_nginx()

    async def _answers(self, plan: Plan, generation: Generation, old: frozenset[int] | None) -> None:
        number, deadline = generation.number, time.monotonic() + _TIMEOUT
        while nginx.generation(self.run_dir) != number:
            if refused := nginx.refused_reload(self.run_dir):
                refused = blame.translated(plan, self.generations.config.parent, refused)
                raise Refused(Outcome.RELOAD_FAILED, f"NGINX refused to reload: {refused}")
            if time.monotonic() > deadline:
                raise Refused(
                    Outcome.RELOAD_FAILED,
                    f"NGINX did not switch to generation {number} within {_TIMEOUT:g} s",
                    "NGINX's own error log, above this line, names the reason",
                )
            await asyncio.sleep(_POLL)
        await self.prover.old_workers_gone(old)

    async def keep(self, plan: Plan) -> bool:
        """Ensure that NGINX runs the current generation: a signal may get lost, or a killed agent leave work half done.

        Returns whether a proof was necessary. Raises `Refused` where the proof fails.
        """
        current, now = self.generations.current(), time.monotonic()
        if not current or now < self._looked + _LOOK:
            return False
        self._looked = now
        answered = nginx.generation(self.run_dir)
        other = answered not in (None, current.number) and await self._other_runs(current)
        if other:
            log.warning("NGINX runs generation %s instead of %s: reloading", answered, current.number)
        if answered is None or (self.prover.proof.running is not None and not other):
            return False
        await self.prove(plan, current, reload=other)
        return True

    async def stands(self, plan: Plan, current: Generation) -> bool:
        """Prove a generation that a start or a killed agent left as current, with its ``plan``; else fall back."""
        try:
            await self.prove(plan, current, reload=await self._other_runs(current))
            self._confirm(current)
            return True
        except (Refused, OSError) as error:
            log.error("generation %d is not served as it should be: %s", current.number, error)
            self.fall_back(current, str(error))
            return False

    async def _other_runs(self, current: Generation) -> bool:
        """Whether NGINX runs another generation, and is not just changing over from it.

        An NGINX that is still starting is waited for.
        """
        others = 0
        for _ in range(100):
            answered = nginx.generation(self.run_dir)
            others += answered not in (None, current.number)
            if answered == current.number or others == _CHANGING_OVER:
                return answered != current.number
            await asyncio.sleep(0.05)
        return False

    def _confirm(self, generation: Generation) -> None:
        """Remember a generation as proved."""
        self.untidy = True
        try:
            self.generations.confirm(generation)
        except OSError as error:
            log.error("generation %d is served, but that could not be noted: %s", generation.number, error)

    def tidy(self) -> None:
        """Remove superfluous generations and key files, after a cycle, when nobody waits.

        A rollback that failed is tried again.
        """
        if self.owed:
            self._return_to(self.owed)
        if not self.untidy:
            return
        self.untidy = False
        in_use = (self.generations.current(), self.generations.verified())
        try:
            self.generations.prune()
            key_files.keep_only(self.run_dir, [found.manifest for found in in_use if found])
        except OSError as error:
            log.error("what is not needed any more could not be removed: %s", error)

    def fall_back(self, failed: Generation, reason: str) -> None:
        """Return from an unfit current generation to the last proved one, if that is another."""
        proved = self.generations.verified()
        if proved and proved.number != failed.number:
            self._roll_back(proved, failed, reason)

    def _roll_back(self, before: Generation | None, failed: Generation, reason: str) -> None:
        if before:
            self._return_to(before)
        self.stager.refuse(failed, reason)

    def _return_to(self, before: Generation) -> None:
        current = self.generations.current()
        try:
            if not current or current.number != before.number:
                self.generations.publish(before)
        except OSError as error:
            level = logging.DEBUG if self.owed else logging.ERROR
            log.log(level, "generation %d could not be made current again, yet: %s", before.number, error)
            self.owed = before
            return
        self.owed = None
        # If NGINX is down, supervisord starts it with what is current now.
        with contextlib.suppress(Refused):
            self.supervisord.reload_nginx()

    def _offered(self, known: Iterable[bytes]) -> list[bytes]:
        """The passwords that open keys now, and those of the served pairs: the user's file may have changed."""
        current = self.generations.current()
        before = current.manifest.password_file if current else ""
        return [*known, *(key_files.passwords(Path(before)) if before else [])]


def _refused(error: Refused | OSError) -> Refused:
    if isinstance(error, Refused):
        return error
    return Refused(
        Outcome.RELOAD_FAILED,
        f"the new configuration could not be written ({error}): the old one is served on",
        "is the disk behind CERTFRONT_STATE_DIR or CERTFRONT_RUN_DIR full or read-only?",
    )
