"""What starts a cycle: somebody asks, or time passes."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from typing import NamedTuple


class Request(NamedTuple):
    """Somebody wants a check now: of these names (none: all), and perhaps to know when it is done."""

    names: tuple[str, ...]
    force: bool
    why: str
    done: asyncio.Future[None] | None = None

    def wants(self, names: Collection[str]) -> bool:
        """Whether a certificate for ``names`` is asked for."""
        return not self.names or not {*self.names}.isdisjoint(names)


class Mailbox:
    """Requests wait here for the agent; everything that came in meanwhile is one cycle."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Request] = asyncio.Queue()

    def post(self, why: str) -> None:
        """Ask for a check of everything."""
        self._queue.put_nowait(Request((), False, why))

    async def ask(self, names: Iterable[str], *, force: bool) -> None:
        """Ask for a check, and wait until it is done."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(Request(tuple(names), force, "refresh", done))
        await done

    async def next(self, seconds: float) -> list[Request]:
        """What was asked for; empty when ``seconds`` have passed without a request."""
        try:
            found = [await asyncio.wait_for(self._queue.get(), seconds)]
        except TimeoutError:
            return []
        while not self._queue.empty():
            found.append(self._queue.get_nowait())
        return found

    @staticmethod
    def answer(requests: Iterable[Request]) -> None:
        """Tell those who wait that their check is done."""
        for request in requests:
            if request.done and not request.done.done():
                request.done.set_result(None)


def why(requests: Iterable[Request]) -> str:
    """The reason for a generation's manifest."""
    return ", ".join(dict.fromkeys(request.why for request in requests)) or "timer"
