"""A run folder without a byte of room: a small tmpfs, filled by visitors or by others, while everything goes on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Self

import pytest

from entrypoint.core.model import Refused
from entrypoint.demo.pki import encrypted_pem
from entrypoint.demo.stage import NAME
from entrypoint.system import reserve
from tests.support.front import Front, tls
from tests.support.recorder import Answer, Recorder
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.xdist_group("faults-full-run-folder")

_SIZE = 8 << 20
_BIG = b"x" * (64 << 20)
# A server of the user's with NGINX's own defaults: what a visitor does not fetch goes to files.
USERS = """
events {{ }}
http {{
    access_log off;
    server {{ listen {http} sndbuf=16k rcvbuf=16k; location / {{ proxy_pass {app}; }} }}
}}
"""


class OnTmpfs(Front):
    """A front whose run folder is a tmpfs of eight megabytes."""

    def __init__(self, environment: Mapping[str, str | None] | None = None) -> None:
        super().__init__(environment)
        self.run_dir = self.folder / "run"
        self.run_dir.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE},mode=755", "none", str(self.run_dir)]
        if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("needs root and leave to mount a tmpfs")

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self.kill()
        subprocess.run(["umount", "--lazy", str(self.run_dir)], check=True)
        super().__exit__(*raised)

    def fill(self) -> None:
        """By somebody else, to the last byte, also to that which a write of certfront's gives up for a moment."""
        self.until(self._filled, "a full folder")

    def _filled(self) -> bool:
        with (self.run_dir / "filled").open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        return self.is_full()

    def stays_full(self) -> None:
        """But for the moments in which the reserve is given up to a write."""
        self.until(lambda: os.statvfs(self.run_dir).f_bavail < 64, "a folder that is full again")

    def is_full(self) -> bool:
        return os.statvfs(self.run_dir).f_bavail == 0

    def healthy(self) -> bool:
        return self.http("/healthz", self.status_port)[0] == 200 and self.command("health").returncode == 0

    def asks(self) -> bool:
        """Whether the agent is there, and looks."""
        try:
            return bool(self.check()["outcome"] == "unchanged")
        except Refused:
            return False

    def updated_at(self) -> str:
        return str(self.report()["updated_at"])

    def looks_again(self) -> str:
        """Asks for a check; returns the time of the status, which has no fractions of a second."""
        self.signal(signal.SIGHUP)
        return self.updated_at()

    def slots(self) -> set[str]:
        """The slots of ten seconds in which it counts as alive."""
        return {path.name for path in (self.run_dir / "status" / "alive").iterdir()}


def _slow(port: int) -> socket.socket:
    conn = socket.socket()
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    conn.connect(("127.0.0.1", port))
    return conn


@contextmanager
def _visitor(conn: socket.socket) -> Iterator[None]:
    """Asks for a page, and fetches next to nothing of it."""
    with conn:
        conn.sendall(f"GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
        assert conn.recv(100).startswith(b"HTTP/1.1 200")
        yield


def test_renewals_go_in() -> None:
    """Not a byte of room: the status and health go on, a renewal comes in."""
    with OnTmpfs() as front:
        front.serve().fill()
        before, slots = front.updated_at(), front.slots()
        assert front.check()["outcome"] == "unchanged"
        front.until(lambda: front.updated_at() > before and front.slots() - slots, "the status and the slots of now")
        assert front.healthy()
        front.until_served(front.renew())
        front.stays_full()
        assert front.healthy()


def test_a_new_key_with_a_new_password() -> None:
    """Its password file is written all the same."""
    with OnTmpfs() as front:
        front.serve().fill()
        issued = front.authority.issue(NAME)
        front.secret("key.pem", encrypted_pem(issued.key, b"another"))
        front.secret("ssl_pw.txt", b"another\n")
        front.put(issued)
        front.until_served(issued)
        front.stays_full()
        assert front.healthy()


def test_nginx_and_agent_are_started_again() -> None:
    """Killed while nothing can be written: both come back, and the reserve is taken again once there is room."""
    with OnTmpfs() as front:
        front.serve().fill()
        for process in (front.master(), front.agent()):
            process.send_signal(signal.SIGKILL)
            process.wait(PATIENCE)
        front.until(front.served, "TLS")
        front.until(front.asks, "the agent")
        assert front.healthy()
        (front.run_dir / "filled").unlink()
        held = front.run_dir / ".reserve"
        front.until(lambda: front.asks() and held.stat().st_blocks * 512 == 2 << 20, "the reserve")


def test_visitors_fill_it() -> None:
    """Visitors of a server of the user's do not fetch their answers: whatever NGINX's files leave, ours go on."""
    with Recorder(Answer(body=_BIG[: 3 << 20])) as application, OnTmpfs({"SERVER_NAME": None}) as front:
        conf = front.folder / "nginx.conf"
        conf.write_text(USERS.format(http=front.http_port, app=application.url))
        front.environment = {**front.environment, "NGINX_CONF": str(conf)}
        front.start()
        front.until(lambda: front.http()[0] == 200 and front.report(), "the user's server")
        visits = [_visitor(_slow(front.http_port)) for _ in range(10)]
        for visit in visits:
            visit.__enter__()
        front.until(lambda: os.statvfs(front.run_dir).f_bavail < (3 << 20) // 4096, "little room")
        front.fill()
        before = front.updated_at()
        front.until(lambda: front.looks_again() > before, "the status")
        assert front.healthy()
        for visit in visits:
            visit.__exit__(None, None, None)


def test_the_built_in_site_writes_no_files() -> None:
    """Ten visitors fetch nothing of a big answer, one sends a big body that nobody takes: not a byte is written."""
    with Recorder(Answer(body=_BIG)) as application, OnTmpfs({"UPSTREAM": application.url}) as front:
        front.serve()
        free = os.statvfs(front.run_dir).f_bavail
        visits = [_visitor(tls(front.https_port)) for _ in range(10)]
        for visit in visits:
            visit.__enter__()
        with tls(front.https_port) as conn:
            conn.settimeout(0.5)
            conn.sendall(f"POST / HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: {len(_BIG)}\r\n\r\n".encode())
            with suppress(TimeoutError):
                conn.sendall(_BIG[: 32 << 20])
        time.sleep(0.5)
        files = [path for path in (front.run_dir / "nginx").rglob("*") if path.is_file()]
        assert files == []
        assert free - os.statvfs(front.run_dir).f_bavail < 64
        for visit in visits:
            visit.__exit__(None, None, None)


def test_what_a_killed_nginx_left_goes_at_the_start() -> None:
    """Temporary files of a run that was killed make room at the next one."""
    with OnTmpfs() as front:
        left = front.run_dir / "nginx" / "proxy" / "1" / "00"
        left.mkdir(parents=True)
        with (left / "0000000001").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        front.serve()
        assert not left.exists()
        assert reserve.give_up(front.run_dir)
