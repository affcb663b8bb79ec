"""Every signal that a person, an engine or a log rotation may send, at every moment of a life."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.front import Front
from tests.support.user import ROOT, User

pytestmark = pytest.mark.xdist_group("e2e-signals")

TAKEN = {signal.SIGTERM, signal.SIGQUIT, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1}
NOTHING = sorted(signal.valid_signals() - TAKEN - {signal.SIGKILL, signal.SIGSTOP})


def _name(number: int) -> str:
    return number.name if isinstance(number, signal.Signals) else str(number)


@pytest.fixture(scope="module")
def running() -> Iterator[Front]:
    with Front() as front:
        yield front.serve()


@pytest.mark.parametrize("number", [*NOTHING, signal.SIGUSR1], ids=_name)
def test_all_others_do_nothing(running: Front, number: int) -> None:
    """To PID 1 and to the agent: neither ends nor stops, NGINX and its workers stay, and checks go on; USR1 too."""
    assert running.process
    supervisord, before = psutil.Process(running.process.pid), running.footprint()
    agent = running.agent()
    for process in (supervisord, agent):
        process.send_signal(number)
    assert running.check()["outcome"] == "unchanged"
    assert running.agent() == agent
    assert psutil.STATUS_STOPPED not in (supervisord.status(), agent.status())
    assert running.footprint() == before


def test_all_that_are_for_others_in_every_moment() -> None:
    """From the first moment on, again and again, while it boots and NGINX reads its configuration: nothing is lost."""
    with Front() as front:
        front.put(front.issued)
        front.start()
        assert front.process
        pid, over = front.process.pid, threading.Event()
        front.until(lambda: _ignores(pid, signal.SIGUSR1), "a process that has begun")
        sender = threading.Thread(target=_send, args=(pid, over))
        sender.start()
        try:
            front.until_served(front.issued)
            agent, master = front.agent(), front.master()
        finally:
            over.set()
            sender.join()
        assert (front.agent(), front.master()) == (agent, master)
        assert "exited" not in front.log()
        front.signal(signal.SIGTERM)
        assert front.ended() == 0


def _ignores(pid: int, number: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = next(int(line.split()[1], 16) for line in status if line.startswith("SigIgn:"))
    return bool(mask >> (number - 1) & 1)


def _send(pid: int, over: threading.Event) -> None:
    for number in itertools.cycle([*NOTHING, signal.SIGUSR1, signal.SIGHUP]):
        if over.wait(0.001):
            return
        os.kill(pid, number)


@pytest.mark.parametrize("times", [1, 2])
def test_usr1_reopens_logs(times: int) -> None:
    """A log file that was moved away is written anew after USR1 to PID 1, by the same NGINX; the old one is left."""
    with User() as user:
        log = user.folder / "access.log"
        user.put_file("nginx.conf", ROOT.replace("access_log off", f"access_log {log}"))
        user.start()
        user.until(user.plain)
        master = user.master()
        for _ in range(times):
            old = log.rename(log.with_suffix(".1"))
            user.signal(signal.SIGUSR1)
            user.until(log.exists, "another file")
            # The master makes it, and the worker that answers comes to it a moment later.
            user.until(lambda: user.plain() and log.stat().st_size > 0, "a line in it")
            size = old.stat().st_size
            assert user.plain()
            assert old.stat().st_size == size
        assert user.master() == master
