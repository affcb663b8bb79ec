"""Sockets of the user's servers: what was open and is still wanted is open after a switch, or all is as before."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrypoint.core.generation.pairs import identity
from entrypoint.core.generation.plan import Plan
from entrypoint.core.model import Outcome, Refused
from entrypoint.edges import nginx, packaged
from entrypoint.edges.generations import Generations
from entrypoint.edges.supervisord import Supervisord
from entrypoint.rollout import Rollout
from tests.support import rig
from tests.support.waiting import until


class Lossy(Plan):
    """A plan of which a fault of ours drops a socket."""

    lost = ""

    def texts(self, number: int) -> dict[str, str]:
        return {path: text.replace(self.lost, "") for path, text in super().texts(number).items()}


class Site:
    """A running NGINX with servers of the user's."""

    def __init__(self, folder: Path) -> None:
        self.http, self.stream, self.other, *more = rig.free_ports(6)
        self.root = folder / "nginx.conf"
        ports = dict(zip(("HTTP_PORT", "HTTPS_PORT", "STATUS_PORT"), map(str, more), strict=True))
        self.settings = rig.settings(folder, SERVER_NAME=None, NGINX_CONF=str(self.root), **ports)
        self.user = rig.config_files(self.settings)
        rig.run_folders(self.settings.run_dir)
        self.generations = Generations(self.settings.state_dir)
        self.rollout = Rollout(rig.NEW, self.generations, Supervisord(self.settings.run_dir), self.settings.run_dir)

    def plan(self, *servers: str, kind: type[Plan] = Plan) -> Plan:
        http, stream, *_ = [*servers, "", ""]
        self.root.write_text(f"events {{}}\nhttp {{ {http} }}\nstream {{ {stream} }}\n")
        return kind(self.settings, rig.facts(), packaged.packaged(), {}, {}, self.user.read())

    @property
    def both(self) -> tuple[str, str]:
        return (f"server {{ listen 127.0.0.1:{self.http}; }}\n", f"server {{ listen {self.stream}; return x; }}")

    def apply(self, plan: Plan) -> None:
        asyncio.run(self.rollout.apply(plan, (), "test"))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    tmp_path.chmod(0o755)
    found = Site(tmp_path)
    rig.stage(found.generations, found.plan(*found.both))
    chosen = found.settings
    with (
        rig.running_nginx(rig.NEW, found.generations.config, chosen.status_port, chosen.run_dir) as master,
        rig.Supervisor(chosen.run_dir, master.pid),
    ):
        current = found.generations.current()
        assert current is not None
        asyncio.run(found.rollout.prove(found.plan(*found.both), current, reload=False))
        yield found


@pytest.mark.parametrize("which", ["http", "stream"])
def test_dropped(site: Site, which: str) -> None:
    """It is named with its server and port, and what ran before runs again."""
    port = getattr(site, which)
    assert {number for _, number in site.rollout.prover.open} == {site.http, site.stream}
    lost = site.plan(*site.both, kind=Lossy)
    Lossy.lost = (
        f"server {{ listen 127.0.0.1:{port}; }}" if which == "http" else f"server {{ listen {port}; return x; }}"
    )
    with pytest.raises(Refused, match=rf"nginx.conf:\d: connections to 127.0.0.1 port {port} are refused") as caught:
        site.apply(lost)
    assert caught.value.problem.outcome is Outcome.NOT_SERVED
    until(lambda: nginx.generation(site.settings.run_dir) == 1, "what ran before")
    until(lambda: nginx.taken("tcp", "", port), "its socket")


@pytest.mark.parametrize("how", ["removed", "moved", "gated"])
def test_meant(site: Site, how: str) -> None:
    """What the user removed, gave another port, or NGINX refuses need not be open any more."""
    http, stream = site.both
    if how == "gated":
        http = http.replace("}", "return 200 $nonsense; }")
    else:
        http = "" if how == "removed" else http.replace(str(site.http), str(site.other))
    site.apply(site.plan(http, stream))
    ports = {site.stream} | ({site.other} if how == "moved" else set())
    assert {number for _, number in site.rollout.prover.open} == ports


def test_what_never_was_open_need_not_be(site: Site) -> None:
    """A socket that nobody has reached yet keeps nothing from coming in."""
    plan = site.plan(*site.both, kind=Lossy)
    Lossy.lost = site.both[1]
    site.rollout.prover.open = frozenset()
    site.apply(plan)
    assert {number for _, number in site.rollout.prover.open} == {site.http}


SERVERS = """events {} http {
server { listen 80; listen [::]:80; listen 127.0.0.2:81; }
server { listen 443 ssl; listen 80; ssl_certificate a; ssl_certificate_key b; }
server { listen 444 quic; listen unix:/x; }
} stream {
server { listen 53 udp; listen 5353; }
}"""


@pytest.mark.parametrize(
    ("blocked", "refused", "ports"),
    [
        (False, (), [80, 80, 81, 443, 5353]),
        (True, (), [80, 80, 81, 5353]),
        (False, (2,), [80, 443, 5353]),
        (False, (6,), [80, 80, 81, 443]),
    ],
)
def test_open_sockets(tmp_path: Path, blocked: bool, refused: tuple[int, ...], ports: list[int]) -> None:
    """Of TCP, of servers that run: plain HTTP also where only a certificate is missing; each with its place."""
    (tmp_path / "nginx.conf").write_text(SERVERS)
    found = rig.config_files(rig.settings(tmp_path, NGINX_CONF=str(tmp_path / "nginx.conf"))).read()
    assert found is not None
    places = {server.block.directive.line: server.place for server in found.configuration.servers}
    pairs = {identity(pair): "no" for server in found.configuration.servers for pair in server.pairs}
    pending = pairs if blocked else {}
    sockets = rig.gate(found, pending, servers={places[line]: "no" for line in refused}).open_sockets
    assert sorted(port for _, port in sockets) == ports
    assert {address for address, _ in sockets} <= {"127.0.0.1", "::1", "127.0.0.2"}
    assert all(where.startswith(f"{tmp_path}/nginx.conf:") for where in sockets.values())
    assert not rig.gate(found, pending, files={f"{tmp_path}/nginx.conf": "no"}).open_sockets
