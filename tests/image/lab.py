"""A laboratory around the image: a network, a stand-in CertMgr and an application at its gateway, keys, containers."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from entrypoint.core.model import KeyType
from entrypoint.demo import application
from entrypoint.demo.pki import Authority, Issued, encrypted_pem
from entrypoint.demo.stage import NAME, fingerprint
from entrypoint.demo.standin import Credential
from tests.support import clients
from tests.support.certmgr import FaultyCertMgr
from tests.support.pki import cached_key
from tests.support.waiting import until

from .engine import IMAGE, Engine

PATIENCE = 60.0  # seconds: for what comes in about one, on a machine with much else to do
PASSWORD = b"correct horse battery staple"
HTTP, HTTPS, STATUS = 80, 443, 8081


class Container:
    """A container of ours that runs in the background. A context manager: it is removed with its volumes."""

    def __init__(self, engine: Engine, arguments: Sequence[str]) -> None:
        self.engine = engine
        self.id = engine.docker("run", "--detach", *arguments).stdout.strip()
        self._ports: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.docker("rm", "--force", "--volumes", self.id, check=False)

    def docker(self, command: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.engine.docker(command, *arguments, self.id, check=check)

    def execute(self, *command: str, check: bool = True, options: Sequence[str] = ()) -> str:
        """Standard output, and error, of a command in the container."""
        done = self.engine.docker("exec", *options, self.id, *command, check=check)
        return done.stdout + done.stderr

    def log(self) -> str:
        done = self.docker("logs")
        return done.stdout + done.stderr

    def state(self) -> dict[str, Any]:
        return dict(json.loads(self.docker("inspect", "--format", "{{json .State}}").stdout))

    def ended(self) -> int:
        """Waits for its end; the exit status."""
        self.until(lambda: not self.state()["Running"], "the end")
        return int(self.state()["ExitCode"])

    def stop(self) -> tuple[int, float]:
        """``docker stop``: exit status, and the seconds that it took."""
        started = time.monotonic()
        self.docker("stop", "--time", "30")
        return int(self.state()["ExitCode"]), time.monotonic() - started

    def port(self, inside: int) -> int:
        """The published port on 127.0.0.1."""
        if inside not in self._ports:
            done = self.engine.docker("port", self.id, f"{inside}/tcp", check=False)
            assert done.returncode == 0, f"the container does not run; its log:\n{self.log()}"
            self._ports[inside] = int(done.stdout.split()[0].rpartition(":")[2])
        return self._ports[inside]

    def http(self, path: str = "/", inside: int = HTTP, host: str = NAME) -> tuple[int, dict[str, str], str]:
        """Status, headers and body; status 0 where nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port(inside), timeout=5)
        try:
            connection.request("GET", path, headers={"Host": host, "Connection": "close"})
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException):
            return 0, {}, ""
        finally:
            connection.close()

    def https(self, path: str = "/", name: str = NAME) -> str:
        """The body that a visitor of the site gets."""
        answer = clients.get_named(("127.0.0.1", self.port(HTTPS)), path, name)
        return answer.partition(b"\r\n\r\n")[2].decode()

    def served(self, name: str = NAME) -> str:
        """The fingerprint in a handshake; empty where there is none."""
        try:
            return hashlib.sha256(self.chain(name)[0]).hexdigest()
        except (OSError, ssl.SSLError, subprocess.SubprocessError):
            return ""

    def chain(self, name: str = NAME) -> list[bytes]:
        return clients.fetch(("127.0.0.1", self.port(HTTPS)), name)

    def report(self) -> dict[str, Any]:
        """status.json; empty while nobody answers."""
        code, _, text = self.http("/status.json", STATUS)
        return dict(json.loads(text)) if code == http.client.OK else {}

    def certificate(self) -> dict[str, Any]:
        entries = self.report().get("certificates")
        return dict(entries[0]) if entries else {}

    def until(self, condition: Callable[[], object], what: str) -> float:
        """Waits; the seconds that it took."""
        began = time.monotonic()
        until(condition, what, PATIENCE, lambda: f"; the log:\n{self.log()[-4000:]}")
        return time.monotonic() - began

    def until_serves(self, issued: Issued) -> float:
        return self.until(lambda: self.served() == fingerprint(issued), "the certificate in a handshake")

    def until_outcome(self, outcome: str) -> None:
        self.until(lambda: self.certificate().get("outcome") == outcome, outcome)


class Lab:
    """What a front needs around it. ``issued`` is what CertMgr has once it is `put`."""

    def __init__(self, engine: Engine, *, ipv6: bool = False) -> None:
        self.engine, self.ipv6 = engine, ipv6
        self.folder = Path(tempfile.mkdtemp(prefix="certfront-lab-"))
        self.folder.chmod(0o755)
        self.network = self.folder.name
        self.authority = Authority.create("Acme")
        self.issued = self.authority.issue(NAME, key=cached_key(KeyType.RSA, "lab"))
        self.volumes: list[str] = []

    def __enter__(self) -> Self:
        more = ("--ipv6", "--subnet", "fd00:ce:f::/64") if self.ipv6 else ()
        self.engine.docker("network", "create", *more, self.network)
        found = json.loads(self.engine.docker("network", "inspect", self.network).stdout)[0]["IPAM"]["Config"]
        self.gateway = next(str(entry["Gateway"]).split("/")[0] for entry in found if ":" not in entry["Subnet"])
        default = self.authority.issue("certmgr.acme.com")
        self.certmgr = FaultyCertMgr(credential(default, "certmgr.acme.com"), host=self.gateway)
        self.certmgr.start()
        self.application = application.server(self.gateway, 0)
        threading.Thread(target=self.application.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.application.shutdown()
        self.application.server_close()
        self.certmgr.stop()
        self.engine.docker("network", "rm", self.network, check=False)
        if self.volumes:
            self.engine.docker("volume", "rm", "--force", *self.volumes, check=False)
        shutil.rmtree(self.folder)

    def put(self, issued: Issued | None = None) -> Issued:
        """Lets CertMgr have a certificate."""
        self.issued = issued or self.issued
        self.certmgr.put(credential(self.issued, NAME))
        return self.issued

    def renew(self) -> Issued:
        return self.put(self.authority.issue(NAME, key=self.issued.key))

    def secret(self, name: str, data: bytes, owner: tuple[int, int] = (0, 0), mode: int = 0o400) -> Path:
        """Puts a file in place of the one before, as editors do."""
        new, path = self.folder / f".{name}.new", self.folder / name
        new.write_bytes(data)
        os.chown(new, *owner)
        new.chmod(mode)
        return new.rename(path)

    def key(self, owner: tuple[int, int] = (0, 0), mode: int = 0o400) -> tuple[str, ...]:
        """Options that mount the encrypted key and its password where the defaults expect them."""
        key = self.secret("key.pem", encrypted_pem(self.issued.key, PASSWORD), owner, mode)
        password = self.secret("ssl_pw.txt", PASSWORD + b"\n", owner, mode)
        return "-v", f"{key}:/etc/nginx/key.pem:ro", "-v", f"{password}:/etc/nginx/ssl_pw.txt:ro"

    def volume(self) -> str:
        """A named volume, empty."""
        self.volumes.append(f"{self.network}-{len(self.volumes)}")
        self.engine.docker("volume", "create", self.volumes[-1])
        return self.volumes[-1]

    def environment(self, **changed: str) -> dict[str, str]:
        host, port = self.certmgr.address
        upstream = f"http://{self.gateway}:{self.application.server_address[1]}"
        own = {"CERTMGR_HOST": f"{host}:{port}", "SERVER_NAME": NAME, "UPSTREAM": upstream}
        return {**own, "CERTMGR_CHECK_INTERVAL": "1", "CERTMGR_TIMEOUT": "3", **changed}

    def run(
        self,
        *options: str,
        command: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        image: str = IMAGE,
    ) -> Container:
        """A front in the background, its ports published on free ones."""
        variables = self.environment() if environment is None else environment
        given = [part for name, value in variables.items() for part in ("-e", f"{name}={value}")]
        ports = [part for port in (HTTP, HTTPS, STATUS) for part in ("-p", f"127.0.0.1::{port}")]
        return Container(self.engine, ["--network", self.network, *ports, *given, *options, image, *command])


def credential(issued: Issued, *names: str) -> Credential:
    """What CertMgr holds of a certificate."""
    return Credential(names, issued.key, issued.chain)
