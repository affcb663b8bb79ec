"""The status files: whole at every moment, and served by a real NGINX as the contract says."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrypoint.edges import nginx
from entrypoint.edges.status_files import SLOT, StatusFiles
from tests.support import rig
from tests.support.waiting import until


@pytest.fixture
def files(tmp_path: Path) -> StatusFiles:
    found = StatusFiles(tmp_path / "run")
    found.prepare()
    return found


@pytest.fixture
def run_dir(files: StatusFiles, tmp_path: Path) -> Iterator[Path]:
    """The run folder of a running NGINX."""
    tmp_path.chmod(0o755)
    ports = rig.free_ports(3)
    variables = dict(zip(("HTTP_PORT", "HTTPS_PORT", "STATUS_PORT"), map(str, ports), strict=True))
    wanted = rig.plan(rig.settings(tmp_path, **variables))
    assert wanted.settings.run_dir == files.folder.parent
    rig.run_folders(wanted.settings.run_dir)
    with rig.running_nginx(rig.NEW, rig.write(tmp_path / "generation", wanted.files(3)), ports[2]):
        yield wanted.settings.run_dir


def test_status(files: StatusFiles, run_dir: Path) -> None:
    """What is published is what NGINX serves, names in other scripts included; before that, 503."""
    assert nginx.ask(run_dir, "/status.json")[0] == 503
    assert files.read() is None
    report = {"generation": 3, "certificates": [{"issuer": "CN=Größe"}]}
    files.status(report)
    code, text = nginx.ask(run_dir, "/status.json")
    assert (code, json.loads(text)) == (200, report)
    assert files.read() == report


def test_readiness(files: StatusFiles, run_dir: Path) -> None:
    """Not ready says why, with 503; ready says 200; and back again."""
    for _ in range(2):
        files.readiness("www.acme.io: unreachable: no route")
        assert nginx.ask(run_dir, "/readyz") == (503, "www.acme.io: unreachable: no route\n")
        files.readiness("")
        assert nginx.ask(run_dir, "/readyz") == (200, "ready\n")


def test_health(files: StatusFiles, run_dir: Path) -> None:
    """Alive until the given moment, by the clock of NGINX, and not longer, without anybody's help."""
    assert nginx.ask(run_dir, "/healthz")[0] == 503
    now = time.time()
    files.alive(now, now + 60)
    assert nginx.ask(run_dir, "/healthz") == (200, "ok\n")
    files.alive(now - 600, now - 300)
    code, text = nginx.ask(run_dir, "/healthz")
    assert code == 503
    assert "not recent" in text


def test_health_of_a_dead_agent(files: StatusFiles, run_dir: Path) -> None:
    """A mark that lasts for a moment runs out by itself."""
    now = time.time()
    files.alive(now, now)
    until(lambda: nginx.ask(run_dir, "/healthz")[0] == 503, "503", seconds=3 * SLOT)


@pytest.mark.parametrize("until", [0, 5, 95, 3600])
def test_slots(files: StatusFiles, until: int) -> None:
    """The marks cover the time from now until then, one for each slot, and no others stay."""
    files.alive(5000, 5000 + 7200)
    files.alive(1_000_000, 1_000_000 + until)
    found = {int(path.name) for path in (files.folder / "alive").iterdir()}
    assert found == set(range(1_000_000 // SLOT, (1_000_000 + until) // SLOT + 1))


def test_modes(files: StatusFiles) -> None:
    """NGINX's workers, another user, may read everything, whatever the umask."""
    before = os.umask(0o077)
    try:
        files.prepare()
        files.alive(0, 0)
        files.status({})
        files.readiness("no")
        files.readiness("")
    finally:
        os.umask(before)
    for path in [files.folder, *files.folder.rglob("*")]:
        mode = path.stat().st_mode & 0o777
        assert mode == (0o755 if path.is_dir() else 0o644), path


def test_no_half_files(files: StatusFiles) -> None:
    """A reader never sees half of a status, and nothing temporary stays."""
    reader = subprocess.Popen(
        rig.python(
            "import json, pathlib, sys\n"
            "print('ready', flush=True)\n"
            "seen = {len(json.loads(pathlib.Path(sys.argv[1]).read_text())['x']) for _ in range(5000)}\n"
            "print(sorted(seen))\n",
            str(files.folder / "status.json"),
        ),
        stdout=subprocess.PIPE,
    )
    files.status({"x": "a" * 100_000})
    with reader:
        assert reader.stdout
        assert reader.stdout.readline() == b"ready\n"
        rounds = 0
        while reader.poll() is None:
            files.status({"x": "a" * (100_000 if rounds % 2 else 10)})
            rounds += 1
        assert reader.stdout.read() == b"[10, 100000]\n"
    assert {path.name for path in files.folder.iterdir()} == {"alive", "status.json"}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff"])
def test_damaged_status(files: StatusFiles, content: bytes) -> None:
    """A damaged status counts as none."""
    (files.folder / "status.json").write_bytes(content)
    assert files.read() is None
