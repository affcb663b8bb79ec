"""Events that start a cycle: requests, and the passing of time."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from typing import NamedTuple


class Request(NamedTuple):
    """A request for a check of some names (none: all), with a future for a requester who waits for the end."""

    names: tuple[str, ...]
    force: bool
    why: str
    done: asyncio.Future[None] | None = None

    def wants(self, names: Collection[str]) -> bool:
        """Whether a pair with these names is requested."""
        return not self.names or not {*self.names}.isdisjoint(names)


class Mailbox:
    """The queue of requests; all requests that arrive during a cycle share the next one."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Request] = asyncio.Queue()

    def post(self, why: str) -> None:
        """Request a check of all pairs."""
        self._queue.put_nowait(Request((), False, why))

    async def ask(self, names: Iterable[str], *, force: bool) -> None:
        """Request a check, and wait for its end."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(Request(tuple(names), force, "refresh", done))
        await done

    async def next(self, seconds: float) -> list[Request]:
        """The waiting requests; empty after ``seconds`` without any."""
        try:
            found = [await asyncio.wait_for(self._queue.get(), seconds)]
        except TimeoutError:
            return []
        while not self._queue.empty():
            found.append(self._queue.get_nowait())
        return found

    @staticmethod
    def answer(requests: Iterable[Request]) -> None:
        """Tell the waiting requesters that their check has ended."""
        for request in requests:
            if request.done and not request.done.done():
                request.done.set_result(None)


def why(requests: Iterable[Request]) -> str:
    """The cause of a cycle, for the generation's manifest."""
    return ", ".join(dict.fromkeys(request.why for request in requests)) or "timer"
