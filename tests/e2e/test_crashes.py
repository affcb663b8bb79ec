"""kill -9 of anything, and the signals that people send."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psutil
import pytest

from entrypoint.demo.stage import NAME, fingerprint
from tests.support.application import Application
from tests.support.clients import accepts
from tests.support.front import Front, tls
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.xdist_group("e2e-crashes")


@pytest.fixture(scope="module")
def running() -> Iterator[Front]:
    with Front() as front:
        yield front.serve()


@pytest.fixture
def front(running: Front) -> Iterator[Front]:
    running.until(lambda: running.served() == fingerprint(running.issued))
    yield running
    running.repair()


@pytest.mark.parametrize("run_folder", ["kept", "lost"])
def test_everything_is_killed_while_certmgr_is_away(front: Front, run_folder: str) -> None:
    """The next start serves TLS in seconds from what is on disk, whether the run folder is still there or not."""
    front.certmgr.stop()
    front.kill()
    assert front.served() == ""
    if run_folder == "lost":
        shutil.rmtree(front.folder / "run")
    front.start()
    took = front.until(lambda: front.served() == fingerprint(front.issued), "TLS")
    assert took < 6  # the contract says 3, this machine may be busy
    front.until(front.outcome("unreachable"), "the outcome")
    assert front.status()["fingerprint_sha256"] == fingerprint(front.issued)
    front.tested()


def test_the_agent_is_killed(front: Front) -> None:
    """It comes back by itself, NGINX does not notice, and the next renewal is served."""
    before, agent = front.footprint(), front.agent()
    agent.kill()
    front.until(lambda: _again(front.agent, agent), "another agent")
    front.until(front.outcome("unchanged"))
    assert front.footprint().master == before.master
    assert front.footprint().newest_worker == before.newest_worker
    front.until_served(front.renew())
    assert front.footprint().master == before.master


def test_nginx_is_killed(front: Front) -> None:
    """Its master comes back, TLS with it; the orphaned workers, which keep the ports, are ended before."""
    master, said = front.master(), len(front.log())
    workers = master.children()
    assert workers
    master.kill()
    front.until(lambda: _again(front.master, master), "another master")
    front.until(lambda: not any(_lives(worker) for worker in workers), "the end of the orphans")
    took = front.until(lambda: front.served() == fingerprint(front.issued), "TLS")
    assert took < 5 + 10  # the contract's figure, and a busy machine's share
    front.until_served(front.renew())
    assert "bind()" not in front.log()[said:]


def test_a_run_folder_with_a_long_path() -> None:
    """A socket's address has no room for it: renewals, health, and a killed master are as ever."""
    with Front() as front:
        run_dir = front.folder / ("r" * 150) / "run"
        front.environment = {**front.environment, "CERTFRONT_RUN_DIR": str(run_dir)}
        front.serve()
        front.until_served(front.renew())
        master = front.master()
        master.kill()
        front.until(lambda: _again(front.master, master), "another master")
        front.until(lambda: front.command("health").returncode == 0, "health")
        front.until_served(front.renew())
        assert (run_dir / "nginx.sock").is_socket()
        assert front.stop() == 0
        assert not (run_dir / "nginx.sock").exists()


def test_a_worker_is_killed(front: Front) -> None:
    """NGINX replaces it, nothing else changes."""
    master = front.master()
    victim = max(master.children(), key=psutil.Process.create_time)  # older ones may just be ending after a reload
    victim.kill()
    front.until(lambda: victim not in master.children() and len(master.children()) > 0, "another worker")
    front.until(lambda: front.served() == fingerprint(front.issued), "TLS")
    assert front.master() == master


def _again(find: Any, before: psutil.Process) -> bool:
    try:
        return bool(find() != before)
    except psutil.NoSuchProcess:
        return False


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_nginx_that_cannot_start_ends_the_whole() -> None:
    """A port is taken: certfront ends by itself, non-zero, and the log names the port and its variable."""
    with ExitStack() as stack:
        fronts = {name: stack.enter_context(Front()) for name in ("HTTP_PORT", "HTTPS_PORT", "STATUS_PORT")}
        for variable, front in fronts.items():  # side by side: each of them takes its time
            stack.enter_context(socket.create_server(("0.0.0.0", getattr(front, variable.lower()))))
            front.start()
        for variable, front in fronts.items():
            port = getattr(front, variable.lower())
            assert front.ended() not in (0, None)
            assert f":{port} failed" in front.log()
            assert f"{variable}: another program listens on port {port}" in front.log()
            assert "NGINX cannot be kept running" in front.log()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT], ids=["TERM", "QUIT"])
def test_a_request_in_flight_is_finished_first(number: int) -> None:
    """A stop closes the ports at once, lets the slow request end, and then ends with 0."""
    with Application() as application, Front({"UPSTREAM": application.url}) as front:
        front.serve()
        answers: list[bytes] = []
        request = threading.Thread(target=lambda: answers.append(_get(front, "/slow")))
        request.start()
        assert application.arrived.wait(PATIENCE)
        front.signal(number)
        front.until(lambda: not accepts(front.https_port) and not accepts(front.http_port), "closed ports")
        assert front.process
        assert front.process.poll() is None
        assert answers == []
        application.release.set()
        request.join(PATIENCE)
        assert answers[0].startswith(b"HTTP/1.1 200 ")
        assert json.loads(answers[0].partition(b"\r\n\r\n")[2])["path"] == "/slow"
        assert front.ended() == 0


def _get(front: Front, path: str) -> bytes:
    with tls(front.https_port) as conn:
        conn.settimeout(PATIENCE)
        conn.sendall(f"GET {path} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: conn.recv(65536), b""))


def test_hup_checks_now() -> None:
    """With an interval of five minutes, HUP brings a renewal at once, and NGINX is the same as before."""
    with Front({"CERTMGR_CHECK_INTERVAL": "300"}) as front:
        front.serve()
        master, agent = front.master(), front.agent()
        asked = len(front.certmgr.log)
        front.renew()
        assert front.served() != fingerprint(front.issued)
        front.signal(signal.SIGHUP)
        front.until_served(front.issued)
        assert len(front.certmgr.log) == asked + 1
        assert (front.master(), front.agent()) == (master, agent)
        assert front.process
        assert front.process.poll() is None
