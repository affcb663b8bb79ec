"""The agent's socket: a question, an answer, and nobody else's business."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from entrypoint.core.model import Outcome, Refused
from entrypoint.edges import control

Handler = control.Handler


@contextmanager
def _serving(run_dir: Path, handler: Handler) -> Iterator[None]:
    """The socket, in a loop of its own in another thread."""
    ready, loop = threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def main() -> None:
        async with await control.serve(run_dir, handler):
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    try:
        assert ready.wait(30)
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


async def _echo(names: list[str], force: bool) -> list[dict[str, Any]]:
    return [{"names": names, "force": force, "text": "Größe\n"}]


def _refresh(run_dir: Path, names: list[str], *, force: bool = False, timeout: float = 30) -> list[dict[str, Any]]:
    return control.refresh(run_dir, names, force=force, timeout=timeout)


@pytest.mark.parametrize("names", [[], ["www.acme.io"], [f"host-{number}.acme.io" for number in range(1500)]])
@pytest.mark.parametrize("force", [True, False])
def test_question_and_answer(tmp_path: Path, names: list[str], force: bool) -> None:
    """Names and force arrive as they were sent, and the answer comes back as it was given."""
    with _serving(tmp_path, _echo):
        assert _refresh(tmp_path, names, force=force) == [{"names": names, "force": force, "text": "Größe\n"}]


def test_mode(tmp_path: Path) -> None:
    """Only the owner may ask, whatever the umask."""
    before = os.umask(0)
    try:
        with _serving(tmp_path, _echo):
            found = (tmp_path / "agent.sock").stat()
    finally:
        os.umask(before)
    assert stat.S_ISSOCK(found.st_mode)
    assert found.st_mode & 0o777 == 0o600


def test_after_a_killed_agent(tmp_path: Path) -> None:
    """A dead socket of a killed agent is replaced."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "agent.sock"))
    with pytest.raises(Refused):
        _refresh(tmp_path, [])
    with _serving(tmp_path, _echo):
        assert _refresh(tmp_path, [])


def test_slow_answers_side_by_side(tmp_path: Path) -> None:
    """One who waits keeps nobody else waiting."""
    release = threading.Event()

    async def slow(names: list[str], force: bool) -> list[dict[str, Any]]:
        if names:
            await asyncio.to_thread(release.wait, 30)
        return await _echo(names, force)

    with _serving(tmp_path, slow):
        waiting = threading.Thread(target=_refresh, args=(tmp_path, ["a.io"]))
        waiting.start()
        assert _refresh(tmp_path, [])
        assert waiting.is_alive()
        release.set()
        waiting.join(30)
        assert not waiting.is_alive()


@pytest.mark.parametrize(
    "data",
    [
        *(
            b"",
            b"\n",
            b"garbage\n",
            b"[]\n",
            b"{}\n",
            b'{"names": 1, "force": 0}\n',
            b"\xff\xfe\n",
            b'"x"\n',
            b"null\n",
        ),
        *(b'{"names": ["a.io"], "force"', b"x" * 200_000, b"[" * 100_000 + b"\n"),
    ],
    ids=lambda data: repr(data[:20]),
)
def test_strangers(tmp_path: Path, data: bytes) -> None:
    """Whatever a stranger sends, he is sent away, and the next question is answered."""
    with _serving(tmp_path, _echo):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.settimeout(30)
            stranger.connect(str(tmp_path / "agent.sock"))
            try:
                stranger.sendall(data)
                stranger.shutdown(socket.SHUT_WR)
                assert stranger.recv(1000) == b""
            except (BrokenPipeError, ConnectionResetError):
                pass  # sent away before he was done
        assert _refresh(tmp_path, [])


def test_no_agent(tmp_path: Path) -> None:
    """Without an agent the refusal names the socket and says what to do."""
    with pytest.raises(Refused) as caught:
        _refresh(tmp_path, [])
    problem = caught.value.problem
    assert problem.outcome is Outcome.UNREACHABLE
    assert str(tmp_path / "agent.sock") in problem.detail
    assert "certfront run" in problem.hint


@contextmanager
def _raw(run_dir: Path, answer: Callable[[socket.socket], object]) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(run_dir / "agent.sock"))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            thread.join(30)


@pytest.mark.parametrize("answer", [b"", b"half of", b'[{"a":'])
def test_an_agent_that_dies(tmp_path: Path, answer: bytes) -> None:
    """An agent that ends in the middle is an agent that does not answer."""
    with _raw(tmp_path, lambda connection: connection.sendall(answer)), pytest.raises(Refused, match="no answer"):
        _refresh(tmp_path, [])
    (tmp_path / "agent.sock").unlink()


def test_an_agent_that_hangs(tmp_path: Path) -> None:
    """An agent that never answers is given up after the time-out."""
    with (
        _raw(tmp_path, lambda connection: connection.recv(1)),
        pytest.raises(Refused, match=r"no answer.*timed out"),
    ):
        _refresh(tmp_path, [], timeout=0.3)


def test_handler_that_fails(tmp_path: Path) -> None:
    """An answer that cannot be given ends the connection, not the agent."""

    async def fails(_names: list[str], _force: bool) -> list[dict[str, Any]]:
        return [json.loads("{")]

    with _serving(tmp_path, fails), pytest.raises(Refused, match="no answer"):
        _refresh(tmp_path, [])
