"""What NGINX refuses without a place, or sixty times over: the culprits go, all others run, in few tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from entrypoint.core.generation.plan import Plan
from entrypoint.core.model import Refused
from entrypoint.edges import nginx, packaged
from entrypoint.edges.generations import Generations
from entrypoint.staging import Stager
from tests.support import rig

TLS = "listen 8443 ssl; ssl_reject_handshake on;"


class Bench:
    """A plan of the user's files, and how often NGINX was asked."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.tests = folder, 0
        self.root = folder / "nginx.conf"
        self.settings = rig.settings(folder, SERVER_NAME=None, NGINX_CONF=str(self.root))
        rig.run_folders(self.settings.run_dir)
        self.generations = Generations(self.settings.state_dir)
        self.generations.prepare()
        real = nginx.test

        def counted(program: str, config: Path, run_dir: Path | None = None) -> tuple[str, ...]:
            self.tests += 1
            return real(program, config, run_dir)

        monkeypatch.setattr(nginx, "test", counted)

    def accepted(self, lines: list[str], patience: float = 60) -> Plan:
        """What is left of an `http` block with these lines, the first of which is line 1."""
        self.root.write_text("\n".join(["http {" + lines[0], *lines[1:], "} events { }"]))
        source = rig.config_files(self.settings).read()
        plan = Plan(self.settings, rig.facts(), packaged.packaged(), {}, {}, source)
        stager = Stager(rig.NEW, self.generations, patience)
        plan, generation = stager.accepted(plan, "test", lambda _: None)
        assert nginx.test(rig.NEW, generation.config, self.settings.run_dir) == ()
        return plan


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def _gone(plan: Plan) -> list[int]:
    return sorted(int(where.rpartition(":")[2]) for where in plan.gate.commented_out if ":" in where)


def _good(number: int) -> str:
    return f"server {{ listen {8000 + number % 50}; server_name {number}.acme.io; return 204; }}"


@pytest.mark.parametrize(
    "bad",
    [
        f"server {{ {TLS} ssl_ciphers nonsense; }}",
        f"server {{ {TLS} ssl_ecdh_curve nonsense; }}",
        "server { listen 8080; return 200 $nonsense; }",
        "server { listen 8080; location / { limit_req zone=nonsense; } }",
        "server { listen 8080; location / { root /x; add_header X $nonsense; } }",
        "server { listen 192.0.2.1:7999; }",
        "server { listen unix:/nowhere/socket; }",
    ],
)
@pytest.mark.parametrize("at", [0, 13, 39])
def test_no_place_is_named(bench: Bench, bad: str, at: int) -> None:
    """The one of forty servers that is to blame is found by halves; no other goes."""
    lines = [_good(number) for number in range(40)]
    lines[at] = bad
    assert _gone(bench.accepted(lines)) == [at + 1]
    assert bench.tests <= 16


def test_several_without_a_place(bench: Bench) -> None:
    """Two culprits of one kind and one of another among forty are found, and no others."""
    lines = [_good(number) for number in range(40)]
    for at in (7, 30):
        lines[at] = "server { listen 8080; return 200 $nonsense; }"
    lines[12] = f"server {{ {TLS} ssl_ciphers nonsense; }}"
    assert _gone(bench.accepted(lines)) == [8, 13, 31]


def test_a_file_without_servers(bench: Bench) -> None:
    """Where no server is to blame, it may be a file of settings: it goes alone."""
    (bench.folder / "one.conf").write_text("add_header X $nonsense;\n")
    (bench.folder / "two.conf").write_text("add_header Y y;\n")
    plan = bench.accepted(["include one.conf; include two.conf;", _good(1)])
    assert list(plan.gate.commented_out) == [f"{bench.folder}/one.conf"]


def test_nobody_is_to_blame(bench: Bench) -> None:
    """What NGINX refuses of the root file itself is refused as a whole, and no server with it."""
    with pytest.raises(Refused, match='unknown "nonsense" variable'):
        bench.accepted(["add_header X $nonsense;", _good(1), _good(2)])


@pytest.mark.parametrize(
    ("many", "bad"),
    [
        (60, lambda number: f"access_log {number}.log nonsense;"),
        (60, lambda _: "access_log off nonsense;"),
        (60, lambda number: f"location / {{ proxy_pass http://{number}.invalid; }}"),
        (60, lambda _: "include missing.conf;"),
    ],
)
def test_many_refusals(bench: Bench, bad: Callable[[int], str], many: int) -> None:
    """However many servers are refused, all others run: one test for each at the most."""
    lines = [_good(number) for number in range(2 * many)]
    for number in range(0, 2 * many, 2):
        lines[number] = f"server {{ listen 8080; {bad(number)} }}"
    assert _gone(bench.accepted(lines)) == list(range(1, 2 * many, 2))
    assert bench.tests <= many + 2


@pytest.mark.parametrize("bad", ["access_log x.log nonsense;", "location / { proxy_pass http://app.invalid; }"])
def test_out_of_patience(bench: Bench, bad: str) -> None:
    """When asking about each takes too long, all that say the same go at once, and no others."""
    lines = [_good(number) for number in range(120)]
    for number in range(0, 120, 2):
        lines[number] = f"server {{ listen 8080; {bad} }}"
    lines[1] = "server { listen 8080; access_log y.log other; }"
    assert _gone(bench.accepted(lines, patience=0)) == [1, 2, *range(3, 120, 2)]
    assert bench.tests <= 6
