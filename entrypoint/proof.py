"""The proof by handshake that NGINX presents what it should."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Mapping, Sequence

from entrypoint.core import pem
from entrypoint.core.model import KeyType, Outcome, Refused
from entrypoint.core.plan import Plan, Usable
from entrypoint.core.wanted import Door, Wanted
from entrypoint.edges import certmgr

log = logging.getLogger("certfront")

_POLL = 0.005  # seconds
_TIMEOUT = 10.0  # seconds
# The old certificate still shows up for up to 0.2 s after the new one was first seen: one match proves nothing.
_MATCHES = 5
_THOROUGH = 20  # pairs; when so many have shown that the old workers are gone, one match is enough for the others
_AT_ONCE = 16  # handshakes

Chain = tuple[bytes, ...]


async def presented(plan: Plan, pairs: Sequence[Wanted]) -> None:
    """Each pair's chain must come back at its doors, the first pairs' several times in a row.

    Where another chain of the plan comes back for all of ten seconds, another server of the user's answers for that
    name: that is said, and is the user's business. Raises `Refused` (not-served) for any other.
    """
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(number: int, pair: Wanted) -> None:
        usable = plan.usable[pair.identity]
        for door in pair.doors:
            async with limit:
                await _at_door(door, usable, plan, _MATCHES if number < _THOROUGH else 1)

    try:
        async with asyncio.TaskGroup() as group:
            for number, pair in enumerate(pairs):
                if not pair.doors:
                    log.info("%s: no listener over TCP whose names lead to it, so no handshake proves it", pair.title)
                group.create_task(one(number, pair))
    except ExceptionGroup as several:
        raise several.exceptions[0] from None


async def _at_door(door: Door, usable: Usable, plan: Plan, enough: int) -> None:
    expected, kind = pem.decode(usable.chain_pem), usable.about["key_type"]
    key_type = KeyType(kind) if kind else None
    deadline = time.monotonic() + _TIMEOUT
    matches = 0
    while matches < enough:
        seen = await _seen(door, key_type)
        matches = matches + 1 if seen == expected else 0
        if matches == 0:
            if time.monotonic() > deadline:
                _give_up(door, usable, plan, seen)
                return
            await asyncio.sleep(_POLL)


async def _seen(door: Door, key_type: KeyType | None) -> Chain | str:
    """The chain that is presented, or why there is none."""
    try:
        return await certmgr.fetch(
            door.address, door.port, door.name, key_type, _TIMEOUT, proxy_protocol=door.proxy_protocol
        )
    except Refused as error:
        return error.problem.detail


def _give_up(door: Door, usable: Usable, plan: Plan, seen: Chain | str) -> None:
    if seen not in {pem.decode(each.chain_pem) for each in plan.usable.values()}:
        raise Refused(Outcome.NOT_SERVED, _not_served(usable.about, seen))
    log.warning("%s port %d: another server answers for %s", door.address, door.port, door.name)


def _not_served(about: Mapping[str, object], seen: Chain | str) -> str:
    found = seen if isinstance(seen, str) else hashlib.sha256(seen[0]).hexdigest()
    return f"a handshake with NGINX saw {found} instead of the certificate {about['fingerprint_sha256']}"
