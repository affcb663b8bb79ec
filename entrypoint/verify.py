"""The proof that NGINX serves a plan: handshakes that show its chains, connections that show its open sockets."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from entrypoint.core.generation.handshakes import QUICK, Answer, At, ChainDer, Proof, Question, Shown
from entrypoint.core.generation.pairs import PairSpec
from entrypoint.core.generation.plan import Plan
from entrypoint.core.model import Outcome, Refused
from entrypoint.edges import certmgr, nginx

log = logging.getLogger("certfront")

_POLL, _LONGEST_POLL = 0.005, 0.1  # seconds
_TIMEOUT = 10.0  # seconds, for a door that was open before, and for old workers to go
_UNSEEN = 0.5  # seconds for old workers to go, on a machine that does not show them
_AT_ONCE = 16  # handshakes

Address = tuple[str, int]  # with a port of TCP


class NotServed(Refused):
    """Pairs that must be presented are not; ``failed`` says of each, by its identity, what was seen."""

    def __init__(self, failed: Mapping[str, str]) -> None:
        super().__init__(Outcome.NOT_SERVED, "; ".join(dict.fromkeys(failed.values())))
        self.failed = failed


@dataclass
class Prover:
    """The proof of the running generation.

    ``warnings`` are about servers whose pair no handshake proves: place and reason. ``details`` has the reason for each
    pair, by identity, that is proved nowhere. ``open`` are the addresses and ports where the user's servers accept
    connections.
    """

    run_dir: Path
    proof: Proof = field(default_factory=Proof)
    open: frozenset[Address] = frozenset()
    warnings: tuple[tuple[str, str], ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)

    async def prove(self, plan: Plan, unchanged: Collection[str]) -> None:
        """Prove the plan's chains at their doors, after NGINX has switched to it.

        Pairs that are ``unchanged``, by identity, are proved again only if more than chains has changed. Raises
        `NotServed`, or `Refused` where a wanted socket is closed that was open before.
        """
        renewal = self.proof.is_renewal(plan)
        asked = await _presented(self.proof.questions(plan, unchanged if renewal else ()))
        if asked.failed:
            raise NotServed(asked.failed)
        if not renewal:
            self.open = await _connected(plan, self.open)
        self.proof = self.proof.of(plan, asked)
        self._say(plan.gate.running)

    def _say(self, pairs: tuple[PairSpec, ...]) -> None:
        known, self.warnings = self.warnings, tuple(self.proof.shown.warnings(pairs))
        self.details = {pair.identity: detail for pair in pairs if (detail := self.proof.shown.detail(pair))}
        for where, why in self.warnings:
            if (where, why) not in known:
                log.warning("%s: %s", where, why)

    async def old_workers_gone(self, old: frozenset[int] | None) -> None:
        """Wait until the ``old`` workers accept no connections; None if NGINX was not reloaded."""
        deadline = time.monotonic() + _TIMEOUT
        if old is not None and not old:
            await asyncio.sleep(_UNSEEN)
        while old and old & self.workers() and time.monotonic() < deadline:
            await asyncio.sleep(_POLL)

    def workers(self) -> frozenset[int]:
        """The workers of NGINX that accept connections."""
        return nginx.accepting_workers(self.run_dir / "nginx.pid")


async def _presented(questions: Sequence[Question]) -> Shown:
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(question: Question) -> tuple[At, Answer]:
        async with limit:
            return question.at, await _answer(question)

    return Shown.by(await asyncio.gather(*map(one, questions)))


async def _answer(question: Question) -> Answer:
    """Ask until the chain came often enough in a row, or certainly will not come."""
    began = time.monotonic()
    matches = others = 0
    while matches < question.enough:
        seen = await _seen(question, question.names[others % len(question.names)])
        if seen == question.expected:
            matches += 1  # by the same name again
        else:
            matches, others = 0, others + 1
            if question.is_clear(others, time.monotonic() - began, _TIMEOUT):
                return question.verdict(seen)
            await asyncio.sleep(min(_POLL * others, _LONGEST_POLL))
    return None


async def _seen(question: Question, name: str) -> ChainDer | str:
    """The presented chain, or the reason why there is none."""
    door, timeout = question.door, _TIMEOUT if question.open_before else QUICK
    try:
        return await certmgr.fetch(
            door.address, door.port, name, question.leaf.key_type, timeout, proxy_protocol=door.proxy_protocol
        )
    except Refused as error:
        return error.problem.detail


async def _connected(plan: Plan, open_before: Collection[Address]) -> frozenset[Address]:
    """The addresses and ports of the user's servers that accept connections.

    Raises `Refused` where one that was ``open_before`` refuses them. An address that does not answer may belong to
    another machine by now (a failover), and is not judged.
    """
    wanted = plan.gate.open_sockets
    limit = asyncio.Semaphore(_AT_ONCE)

    async def taken(address: Address) -> bool | None:
        async with limit:
            return await _taken(address, patience=QUICK if address in open_before else 0)

    answers = dict(zip(wanted, await asyncio.gather(*map(taken, wanted)), strict=True))
    closed = [address for address, answer in answers.items() if answer is False and address in open_before]
    if closed:
        host, port = closed[0]
        what = f"{wanted[closed[0]]}: connections to {host} port {port} are refused, where they were taken before"
        raise Refused(Outcome.NOT_SERVED, what)
    return frozenset(address for address, answer in answers.items() if answer)


async def _taken(address: Address, patience: float) -> bool | None:
    """Whether a connection is taken; refused ones are tried again for a while. None where nobody answers."""
    ends = time.monotonic() + patience
    while True:
        try:
            async with asyncio.timeout(QUICK):
                _, writer = await asyncio.open_connection(*address)
        except ConnectionRefusedError:
            if time.monotonic() >= ends:
                return False
            await asyncio.sleep(_LONGEST_POLL)
        except OSError:
            return None
        else:
            writer.transport.abort()
            return True
