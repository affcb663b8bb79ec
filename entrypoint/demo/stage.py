"""The tour's stage: a stand-in CertMgr, an application, and certfront with a real NGINX, on loopback."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import SubjectAlternativeName

from entrypoint.core.model import KeyType
from entrypoint.demo import application
from entrypoint.demo.pki import Authority, Issued, encrypted_pem
from entrypoint.demo.standin import Credential, StandInCertMgr
from entrypoint.system import disk

NAME = "www.acme.io"
_POLL = 0.05  # seconds


class StepFailed(Exception):
    """A condition did not come true in time."""


class Stage:
    """A context manager; at its end all processes are stopped and the folder is removed.

    ``ports`` are those of HTTP, HTTPS and the status.
    """

    def __init__(
        self,
        ports: Iterable[int],
        key_type: KeyType = KeyType.RSA,
        password: bytes = secrets.token_urlsafe(24).encode(),
    ) -> None:
        # Known before it is made: wherever Ctrl-C strikes, it goes with the process at the latest.
        self.folder = Path(tempfile.gettempdir()) / f"certfront-demo-{secrets.token_hex(8)}"
        self._remove = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self.folder.mkdir()
        self.folder.chmod(0o755)  # NGINX's workers, which may be another user, read the status files
        self.authority = Authority.create("Acme")
        self.certmgr = self.stand_in(_credential(self.authority.issue("certmgr.acme.com")))
        self.application = application.server("127.0.0.1", 0)
        self.http_port, self.https_port, self.status_port = ports
        self.process: subprocess.Popen[bytes] | None = None
        self.issued = self.authority.issue(NAME, key_type=key_type)
        self.secret("key.pem", encrypted_pem(self.issued.key, password))
        self.secret("ssl_pw.txt", password + b"\n")

    def stand_in(self, default: Credential) -> StandInCertMgr:
        """This stage's CertMgr, not yet listening."""
        return StandInCertMgr(default)

    def secret(self, name: str, data: bytes) -> Path:
        """Put a file that only its owner can read into the folder, replacing the old one by a rename, as editors do."""
        path = self.folder / name
        disk.replace(path, data, 0o400)
        return path

    def __enter__(self) -> Self:
        self.certmgr.start()
        threading.Thread(target=self.application.serve_forever, args=(_POLL,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.certmgr.stop()
        self.application.shutdown()
        self.application.server_close()
        self._remove()

    def start(self) -> None:
        """Start certfront in a process group of its own, so that Ctrl-C reaches the tour alone."""
        with (self.folder / "certfront.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "entrypoint", "run"],
                env=self.variables(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def variables(self) -> dict[str, str]:
        """The variables of certfront's process."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CERTMGR_", "CERTFRONT_"))}
        host, port = self.certmgr.address
        return kept | {
            "CERTMGR_HOST": f"{host}:{port}",
            "CERTMGR_CHECK_INTERVAL": "1",
            "CERTMGR_TIMEOUT": "3",
            "SERVER_NAME": NAME,
            "UPSTREAM": f"http://127.0.0.1:{self.application.server_address[1]}",
            "KEY_FILE": str(self.folder / "key.pem"),
            "KEY_PASSWORD_FILE": str(self.folder / "ssl_pw.txt"),
            "HTTP_PORT": str(self.http_port),
            "HTTPS_PORT": str(self.https_port),
            "STATUS_PORT": str(self.status_port),
            "HTTPS_PUBLIC_PORT": str(self.https_port),
            "CERTFRONT_STATE_DIR": str(self.folder / "state"),
            "CERTFRONT_RUN_DIR": str(self.folder / "run"),
            "NGINX_CONF": str(self.folder / "none"),
        }

    def log(self) -> str:
        """The output of certfront and NGINX so far."""
        path = self.folder / "certfront.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self) -> int | None:
        """End certfront as `docker stop` would; returns its exit status."""
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGQUIT)
        try:
            status = self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.kill()
            return None
        self.process = None
        return status

    def kill(self) -> None:
        """``kill -9`` to everything: supervisord, the agent, NGINX's master and workers."""
        if self.process is None:
            return
        for pid in [self.process.pid, *_descendants(self.process.pid)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()
        self.process = None

    def put(self, issued: Issued) -> None:
        """Let CertMgr present a certificate."""
        self.certmgr.put(_credential(issued))

    def http(self, path: str = "/", port: int | None = None) -> tuple[int, dict[str, str], str]:
        """Status, headers and body of a plain request; status 0 without an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.http_port, timeout=3)
        try:
            connection.request("GET", path, headers={"Host": NAME, "Connection": "close"})
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException):
            return 0, {}, ""
        finally:
            connection.close()

    def report(self) -> dict[str, Any]:
        """The content of status.json; empty without an answer."""
        code, _, text = self.http("/status.json", self.status_port)
        return dict(json.loads(text)) if code == http.client.OK else {}

    def status(self) -> dict[str, Any]:
        """The first certificate's entry in status.json; empty while there is none."""
        entries = self.report().get("certificates")
        return dict(entries[0]) if entries else {}

    def served(self) -> str:
        """The SHA-256 fingerprint of the certificate that a visitor gets, empty where TLS does not answer.

        There is no event loop: one that Ctrl-C interrupts while it starts would warn at its end.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with (
                socket.create_connection(("127.0.0.1", self.https_port), timeout=3) as connection,
                context.wrap_socket(connection, server_hostname=NAME) as tls,
            ):
                return hashlib.sha256(tls.getpeercert(binary_form=True) or b"").hexdigest()
        except OSError:
            return ""

    def wait(self, what: str, seconds: float, condition: Callable[[], object]) -> float:
        """Wait for a condition; returns the seconds it took. Raises `StepFailed`."""
        started = time.monotonic()
        while not condition():
            if time.monotonic() - started > seconds:
                raise StepFailed(f"{what}: not within {seconds:g} s")
            if self.process and self.process.poll() is not None:
                raise StepFailed(f"{what}: certfront ended with status {self.process.returncode}")
            time.sleep(_POLL)
        return time.monotonic() - started

    def outcome(self, outcome: str) -> Callable[[], bool]:
        """A condition for `wait`: the last check ended with this outcome."""
        return lambda: self.status().get("outcome") == outcome


def fingerprint(issued: Issued) -> str:
    """The SHA-256 fingerprint of a leaf, in certfront's spelling."""
    return hashlib.sha256(issued.certificate.public_bytes(Encoding.DER)).hexdigest()


def _credential(issued: Issued) -> Credential:
    names = issued.certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    return Credential(tuple(str(name.value) for name in names), issued.key, issued.chain)


def _descendants(pid: int) -> list[int]:
    """The descendants of a process, from /proc."""
    children = [int(stat.parent.name) for stat in Path("/proc").glob("[0-9]*/stat") if _parent(stat) == pid]
    return children + [below for child in children for below in _descendants(child)]


def _parent(stat: Path) -> int:
    try:
        return int(stat.read_text().rsplit(")", 1)[1].split()[1])
    except (OSError, IndexError):
        return 0
