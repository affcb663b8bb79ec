"""docker-compose.yml with Compose 1.29 and 2: with nothing set TLS comes up; with an .env it is the real thing."""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from entrypoint.demo.pki import encrypted_pem
from entrypoint.demo.stage import NAME, fingerprint
from tests.support import clients
from tests.support.waiting import until

from .engine import ROOT, Engine
from .lab import PASSWORD, PATIENCE, STATUS, Lab

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

COMPOSE_2 = "certfront-test-compose"
DOCKERFILE = """FROM debian:trixie-slim
RUN apt-get update && apt-get install --yes --no-install-recommends docker-compose docker-cli
"""


class Project:
    """A folder with the file, and Compose in it. ``ports`` are those that are published for HTTP and HTTPS."""

    def __init__(self, engine: Engine, folder: Path, compose: Callable[[Path], list[str]]) -> None:
        self.engine, self.folder, self._compose = engine, folder, compose
        shutil.copy(ROOT / "docker-compose.yml", folder)

    def __call__(self, *arguments: str, check: bool = True) -> str:
        command = [*self._compose(self.folder), *arguments]
        done = self.engine.run(*command, cwd=self.folder, timeout=200, check=check)
        return done.stdout + done.stderr

    def status(self) -> list[dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", STATUS, timeout=5)
        try:
            connection.request("GET", "/status.json", headers={"Connection": "close"})
            return list(json.loads(connection.getresponse().read())["certificates"])
        except (OSError, ValueError, http.client.HTTPException):
            return []
        finally:
            connection.close()

    def page(self, name: str) -> str:
        try:
            return clients.get_named(("127.0.0.1", 443), "/", name).decode()
        except (OSError, ssl.SSLError):
            return ""


def _compose_1(_: Path) -> list[str]:
    return ["/usr/bin/docker-compose"]


def _compose_2(engine: Engine) -> Callable[[Path], list[str]]:
    """Debian 13's, in a container: this machine's own Debian has only the other one."""
    engine.run("sh", "-c", f"printf '{DOCKERFILE}' | /usr/bin/docker build --network=host --tag {COMPOSE_2} -")
    socket = engine.host.removeprefix("unix://")

    def command(folder: Path) -> list[str]:
        mounts = ["-v", f"{socket}:/var/run/docker.sock", "-v", f"{folder}:{folder}", "-w", str(folder)]
        return ["/usr/bin/docker", "run", "--rm", "--network=host", *mounts, COMPOSE_2, "docker", "compose"]

    return command


@pytest.fixture(params=["1.29", "2"])
def project(request: pytest.FixtureRequest, engine: Engine, tmp_path: Path) -> Iterator[Project]:
    compose = _compose_1 if request.param == "1.29" else _compose_2(engine)
    project = Project(engine, tmp_path, compose)
    version = project("version")
    assert f"version {request.param}." in version.replace("version v", "version ") or f" {request.param}," in version
    yield project
    project("down", "--volumes", check=False)


def test_with_nothing_set(project: Project) -> None:
    """Front, stand-in CertMgr and application: TLS comes up, the application is behind it, and all ends with 0."""
    project("up", "--detach", "--no-build")
    until(lambda: any(entry["state"] == "pending" for entry in project.status()), "pending", PATIENCE)
    until(lambda: "Hello from the application" in project.page("localhost"), "the application behind TLS", PATIENCE)
    until(lambda: [entry["state"] for entry in project.status()] == ["serving"], "serving", PATIENCE)
    assert "localhost (rsa): new certificate" in project("logs", "front")
    assert _front(project)["HostConfig"]["ReadonlyRootfs"]
    project("stop")
    assert _front(project)["State"]["ExitCode"] == 0


def test_the_real_thing(project: Project, lab: Lab) -> None:
    """An .env and the secrets: CertMgr's certificate is served, the application is ours, the stand-ins sleep."""
    secrets = project.folder / "secrets"
    secrets.mkdir()
    for name, data in _secrets(lab).items():
        (secrets / name).write_bytes(data)
        (secrets / name).chmod(0o440)
    (project.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in _env(lab).items()))
    lab.put()
    project("up", "--detach", "--no-build")
    until(
        lambda: [entry["fingerprint_sha256"] for entry in project.status()] == [fingerprint(lab.issued)],
        "TLS",
        PATIENCE,
    )
    assert "Hello from the application" in project.page(NAME)
    assert "not needed: " in project("logs", "certmgr")
    assert "not needed: " in project("logs", "app")
    project("stop", "-t", "5")
    assert _front(project)["State"]["ExitCode"] == 0


def _secrets(lab: Lab) -> Mapping[str, bytes]:
    return {"key.pem": encrypted_pem(lab.issued.key, PASSWORD), "ssl_pw.txt": PASSWORD + b"\n"}


def _env(lab: Lab) -> Mapping[str, str]:
    found = lab.environment()
    return {name: found[name] for name in ("CERTMGR_HOST", "SERVER_NAME", "UPSTREAM")}


def _front(project: Project) -> dict[str, Any]:
    front = project("ps", "--all", "--quiet", "front").split()[-1]
    return dict(json.loads(project.engine.docker("inspect", front).stdout)[0])
