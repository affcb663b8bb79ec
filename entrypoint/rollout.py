"""A plan made live: stage, test, publish, reload, prove; otherwise switch back."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from entrypoint.core import pem, schedule
from entrypoint.core.model import KeyType, Outcome, Problem, Refused
from entrypoint.core.plan import Plan, Usable
from entrypoint.edges import certmgr, nginx, passwords
from entrypoint.edges.generations import Generation, Generations
from entrypoint.edges.rpc import Supervisord

log = logging.getLogger("certfront")

_POLL = 0.02  # seconds
_TIMEOUT = 10.0  # seconds for NGINX to switch, and again for the handshakes
# The old certificate still shows up for up to 0.2 s after the new one was first seen: one match proves nothing.
_MATCHES = 5


class Refusals:
    """The plan that was refused last: tried again, unchanged, only now and then, as each try may cost a reload."""

    _problem: Problem | None

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Let the next try come at once: something changed, or somebody asks for it."""
        self._digest, self._problem, self._attempts = "", None, 0
        self._until = datetime.min.replace(tzinfo=UTC)

    def add(self, digest: str, problem: Problem, now: datetime, interval: float) -> None:
        """Remember why a plan was refused."""
        self._attempts = self._attempts + 1 if digest == self._digest else 1
        self._digest, self._problem = digest, problem
        self._until = now + timedelta(seconds=schedule.retry_refused(self._attempts, interval))

    def still(self, digest: str, now: datetime) -> Problem | None:
        """Why a plan is not tried now, None where it may be."""
        return self._problem if digest == self._digest and now < self._until else None


@dataclass
class Rollout:
    """Everything that one needs to change what NGINX serves."""

    program: str
    generations: Generations
    supervisord: Supervisord
    run_dir: Path

    async def apply(self, plan: Plan, known: Iterable[bytes], when: str, why: str) -> float:
        """Make ``plan`` live; returns the milliseconds from the reload's signal to the proof.

        ``known`` are passwords that open the plan's keys. Raises `Refused` with what was served before being
        served again.
        """
        before = self.generations.current()
        generation = await self._staged(plan, known, when, why)
        try:
            self.generations.publish(generation)
            spent = await self.prove(plan, generation, reload=True)
        except (Refused, OSError) as error:
            self._roll_back(before, generation, str(error))
            raise _refused(error) from None
        self.confirm(generation)
        return spent

    async def _staged(self, plan: Plan, known: Iterable[bytes], when: str, why: str) -> Generation:
        try:
            self._write_passwords(plan, known)
            number = self.generations.next_number()
            # The last pairs come along: an NGINX that starts while the link moves may read half of each configuration.
            files = {**self.generations.pair_files(), **plan.files(number)}
            generation = self.generations.stage(number, files, plan.manifest(number, when, why))
        except OSError as error:
            raise _refused(error) from None
        try:
            await asyncio.to_thread(nginx.test, self.program, generation.config)
        except Refused as error:
            self._refuse(generation, str(error))
            raise
        return generation

    async def prove(self, plan: Plan, generation: Generation, *, reload: bool) -> float:
        """Reload if asked, and wait for the proof that NGINX runs ``generation`` and presents its chains."""
        started = time.monotonic()
        if reload:
            self.supervisord.reload_nginx()
        await self._switched(plan.settings.status_port, generation.number)
        for usable in plan.usable.values():
            await _presented(plan, usable)
        return (time.monotonic() - started) * 1000

    async def _switched(self, status_port: int, number: int) -> None:
        deadline = time.monotonic() + _TIMEOUT
        while nginx.generation(status_port) != number:
            if time.monotonic() > deadline:
                raise Refused(
                    Outcome.RELOAD_FAILED,
                    f"NGINX did not switch to generation {number} within {_TIMEOUT:g} s",
                    "NGINX's own error log, above this line, names the reason",
                )
            await asyncio.sleep(_POLL)

    def confirm(self, generation: Generation) -> None:
        """Remember a generation as proved, and forget the passwords of those that are gone."""
        try:
            self.generations.confirm(generation)
        except OSError as error:
            log.error("generation %d is served, but that could not be noted: %s", generation.number, error)
        in_use = (self.generations.current(), self.generations.verified())
        files = [str(found.manifest.get("password_file", "")) for found in in_use if found]
        passwords.keep_only(self.run_dir / "passwords", files)

    def fall_back(self, failed: Generation, reason: str) -> None:
        """Return from a current generation that a start found unfit to the last proved one, if there is another."""
        proved = self.generations.verified()
        if proved and proved.number != failed.number:
            self._roll_back(proved, failed, reason)

    def _roll_back(self, before: Generation | None, failed: Generation, reason: str) -> None:
        if before:
            try:
                self.generations.publish(before)
            except OSError as error:
                log.error("generation %d could not be made current again: %s", before.number, error)
            # If NGINX is down, supervisord starts it with what is current now.
            with contextlib.suppress(Refused):
                self.supervisord.reload_nginx()
        self._refuse(failed, reason)

    def _refuse(self, generation: Generation, reason: str) -> None:
        try:
            self.generations.refuse(generation, reason)
        except OSError as error:
            log.error("generation %d could not be marked as refused: %s", generation.number, error)

    def _write_passwords(self, plan: Plan, known: Iterable[bytes]) -> None:
        if not plan.password_file:
            return
        current = self.generations.current()
        before = current.manifest.get("password_file") if current else ""
        offered = [*known, *(passwords.lines(Path(before)) if before else [])]
        passwords.write(Path(plan.password_file), offered or passwords.lines(plan.settings.key_password_file))


async def _presented(plan: Plan, usable: Usable) -> None:
    """Several handshakes in a row must show the chain that the plan names, over the key type that it has."""
    expected = pem.decode(usable.chain_pem)
    name, key_type = plan.settings.site_name, KeyType(usable.about["key_type"])
    deadline = time.monotonic() + _TIMEOUT
    matches, seen = 0, "nothing"
    while matches < _MATCHES:
        try:
            chain = await certmgr.fetch("127.0.0.1", plan.settings.https_port, name, key_type, _TIMEOUT)
            matches = matches + 1 if chain == expected else 0
            seen = hashlib.sha256(chain[0]).hexdigest()
        except Refused as error:
            matches, seen = 0, error.problem.detail
        if matches == 0:
            if time.monotonic() > deadline:
                raise Refused(Outcome.NOT_SERVED, _not_served(usable.about, seen))
            await asyncio.sleep(_POLL)


def _not_served(about: Mapping[str, object], seen: str) -> str:
    return f"a handshake with NGINX saw {seen} instead of the certificate {about['fingerprint_sha256']}"


def _refused(error: Refused | OSError) -> Refused:
    if isinstance(error, Refused):
        return error
    return Refused(
        Outcome.RELOAD_FAILED,
        f"the new configuration could not be written ({error}): the old one is served on",
        "is the disk behind CERTFRONT_STATE_DIR or CERTFRONT_RUN_DIR full or read-only?",
    )
