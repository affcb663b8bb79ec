"""The proof, by handshakes, that NGINX presents what it should, and by connections that it listens."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property

from entrypoint.core.generation.handshakes import At, Shown, Unproved
from entrypoint.core.generation.pairs import Door, PairSpec
from entrypoint.core.generation.plan import Plan
from entrypoint.core.model import Outcome, Refused
from entrypoint.core.x509.certificate import offered_by_default
from entrypoint.core.x509.credential import Credential
from entrypoint.edges import certmgr

_POLL, _LONGEST_POLL = 0.005, 0.1  # seconds
_TIMEOUT = 10.0  # seconds, for a door that was open before
_QUICK = 1.0  # seconds for one answer of a door that never was; where they take that long, two are enough
# One answer proves nothing: where the old workers cannot be seen, they give some for up to 0.2 s.
_MATCHES = 5
_ANSWERS = 4  # of one kind in a row, none of them the wanted chain: then no handshake shows it
_THOROUGH = 20  # pairs; when so many have shown that the old workers are gone, one match is enough for the others
_AT_ONCE = 16  # handshakes
_NAMES = 3  # of a certificate, for a server that names none

Chain = tuple[bytes, ...]
Address = tuple[str, int]  # with a port of TCP
# None: proved; a text: failed.
_Answer = Unproved | str | None


class NotServed(Refused):
    """Pairs that must be presented are not; ``failed`` says of each, by its identity, what was seen."""

    def __init__(self, failed: Mapping[str, str]) -> None:
        super().__init__(Outcome.NOT_SERVED, "; ".join(dict.fromkeys(failed.values())))
        self.failed = failed


async def presented(plan: Plan, pairs: Sequence[PairSpec], open_before: Collection[At] = ()) -> Shown:
    """What each pair's doors present, the first pairs' several times in a row.

    Where another chain of the plan comes back, another server of the user's answers for that name; where no handshake
    is completed, none can prove it: both is said, and is the user's business. At doors that were ``open_before`` it is
    a failure; so is, anywhere, a chain that nobody knows.
    """
    limit = asyncio.Semaphore(_AT_ONCE)
    known = _Known(plan)

    async def one(pair: PairSpec, door: Door, enough: int) -> tuple[At, _Answer]:
        at = pair.identity, door
        async with limit:
            return at, await _Asking(door, plan.usable[pair.identity], known, at in open_before).answer(enough)

    asked = [(pair, door, number) for number, pair in enumerate(pairs) for door in pair.doors]
    answers = await asyncio.gather(
        *(one(pair, door, _MATCHES if number < _THOROUGH else 1) for pair, door, number in asked)
    )
    return Shown(
        frozenset(at for at, answer in answers if answer is None),
        {at: answer for at, answer in answers if isinstance(answer, Unproved)},
        {identity: answer for (identity, _), answer in answers if isinstance(answer, str)},
    )


async def connected(plan: Plan, open_before: Collection[Address]) -> frozenset[Address]:
    """The addresses and ports of the user's servers at which connections are taken.

    Raises `Refused` where one that was ``open_before`` refuses them. One that does not answer may be somewhere else by
    now, as where an address is handed over, and is not ours to judge.
    """
    wanted = plan.gate.open_sockets
    limit = asyncio.Semaphore(_AT_ONCE)

    async def taken(address: Address) -> bool | None:
        async with limit:
            return await _taken(address, patience=_QUICK if address in open_before else 0)

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
            async with asyncio.timeout(_QUICK):
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


class _Known:
    """What a plan's configuration could present as well: looked up only where a door does not present its chain."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @cached_property
    def chains(self) -> Mapping[str, Chain]:
        """All chains of the plan, by their pair."""
        return {identity: credential.ders for identity, credential in self.plan.usable.items()}

    def at(self, door: Door) -> set[Chain]:
        """Those that are at a door, of all kinds."""
        return {self.chains[pair.identity] for pair in self.plan.gate.running if door in pair.doors}

    @cached_property
    def others(self) -> bool:
        """Whether there are chains that only NGINX knows."""
        servers = self.plan.source.configuration.servers if self.plan.source else ()
        return any(server.off or any(pair.for_nginx_only for pair in server.pairs) for server in servers)


class _Asking:
    """One door, asked until it is clear what it presents."""

    def __init__(self, door: Door, credential: Credential, known: _Known, open_before: bool) -> None:
        self.door, self.leaf, self.known = door, credential.leaf, known
        self.expected = credential.ders
        # What a key of another kind opened says nothing of one that no handshake of ours can show.
        self.open_before = open_before and offered_by_default(self.expected[0])
        self.names = self._names()

    def _names(self) -> list[str]:
        """The door's own, and for a server that names none those of the certificate: NGINX may find it by them."""
        if not self.door.any_name:
            return [self.door.name]
        more = [name.replace("*", "certfront") for name in self.leaf.names]
        return list(dict.fromkeys([self.door.name, *more[:_NAMES]]))

    async def answer(self, enough: int) -> _Answer:
        """Ask until the chain came back ``enough`` times in a row, or until it is clear that it does not."""
        began = time.monotonic()
        matches = others = 0
        while matches < enough:
            seen = await self._seen(self.names[others % len(self.names)])
            if seen == self.expected:
                matches += 1  # by the same name again
            else:
                matches, others = 0, others + 1
                if self._clear(others, time.monotonic() - began):
                    return self._verdict(seen)
                await asyncio.sleep(min(_POLL * others, _LONGEST_POLL))
        return None

    def _clear(self, others: int, spent: float) -> bool:
        """Whether so many other answers in a row, in so many seconds, say that the chain will not come."""
        if self.open_before:
            return spent > _TIMEOUT
        return others >= len(self.names) * (_ANSWERS if spent < 2 * _QUICK else 1)

    async def _seen(self, name: str) -> Chain | str:
        """The chain that is presented, or why there is none."""
        door, timeout = self.door, _TIMEOUT if self.open_before else _QUICK
        try:
            return await certmgr.fetch(
                door.address, door.port, name, self.leaf.key_type, timeout, proxy_protocol=door.proxy_protocol
            )
        except Refused as error:
            return error.problem.detail

    def _verdict(self, seen: Chain | str) -> _Answer:
        fingerprint = seen if isinstance(seen, str) else hashlib.sha256(seen[0]).hexdigest()
        failure = f"a handshake with NGINX saw {fingerprint} instead of the certificate {self.leaf.fingerprint_sha256}"
        if self.open_before:
            return failure
        if isinstance(seen, str):
            return Unproved(seen)
        if seen in self.known.at(self.door):
            return Unproved(
                f"NGINX presents its other one there, even where {self.leaf.key_type} is asked for", warn=False
            )
        if seen in self.known.chains.values():
            return Unproved(f"another server answers for {self.door.name} at {self.door}")
        if self.known.others:
            return Unproved(f"a server that certfront leaves alone answers for {self.door.name} at {self.door}")
        return failure
