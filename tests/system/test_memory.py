"""Who goes first where memory runs out, and that it is said: real processes, and control groups of both versions."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from entrypoint.system import memory
from tests.support import rig

V2, V1 = "0::{}\n", "9:name=systemd:/\n4:memory:{}\n1:cpu:/\n0::/\n"


def _group(folder: Path, version: int, count: int, limit: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if version == 2:
        (folder / "memory.events").write_text(f"low 0\noom 9\noom_kill {count}\noom_group_kill 0\n")
        (folder / "memory.max").write_text(limit + "\n")
    else:
        (folder / "memory.oom_control").write_text(f"oom_kill_disable 0\nunder_oom 0\noom_kill {count}\n")
        (folder / "memory.limit_in_bytes").write_text(limit + "\n")


@pytest.mark.parametrize(
    ("version", "own", "place"),
    [
        (2, V2.format("/"), ""),
        (2, V2.format("/docker/a1"), "docker/a1"),
        (2, V2.format("/../../kubepods/x"), ""),
        (1, V1.format("/"), "memory"),
        (1, V1.format("/docker/a1"), "memory/docker/a1"),
        (1, V1.format("/docker/a1"), "memory"),
    ],
)
def test_where_it_is_counted(tmp_path: Path, version: int, own: str, place: str) -> None:
    """In this process's own group, wherever that is mounted; each kill is news once."""
    (tmp_path / "self").write_text(own)
    mounted = tmp_path / "sys"
    mounted.mkdir()
    _group(mounted / place, version, 3, str(64 << 20))
    kills = memory.Kills(mounted, tmp_path / "self")
    assert kills.news() == 0
    _group(mounted / place, version, 5, str(64 << 20))
    assert (kills.news(), kills.news()) == (2, 0)
    assert kills.limit() == "the memory limit of 64 MiB"


@pytest.mark.parametrize("limit", ["max", "9223372036854771712", ""])
def test_no_limit(tmp_path: Path, limit: str) -> None:
    """Then it was the machine's memory."""
    (tmp_path / "self").write_text(V2.format("/"))
    _group(tmp_path, 2, 0, limit)
    assert memory.Kills(tmp_path, tmp_path / "self").limit() == "the memory of this machine"


@pytest.mark.parametrize("own", ["", "0::/\n", V1.format("/x")])
def test_nothing_to_read(tmp_path: Path, own: str) -> None:
    """Where nothing is mounted, or the counter is none, nothing is known, and nothing fails."""
    (tmp_path / "self").write_text(own)
    kills = memory.Kills(tmp_path, tmp_path / "self")
    assert kills.news() == 0
    assert kills.limit() == "the memory of this machine"
    assert memory.Kills(tmp_path, tmp_path / "none").news() == 0


def test_this_machine() -> None:
    """What is really there can be read."""
    assert memory.Kills().news() >= 0
    assert memory.Kills().limit().startswith("the memory")


@pytest.mark.parametrize("base", [-1000, 0, 100, 900])
def test_places(base: int) -> None:
    """The agent before NGINX, both before the first process; never out of the kernel's range."""
    script = f"""
from entrypoint.system import memory
first = memory._own()
own = memory.go_last()
assert own == first
print(memory._own())
for name in ("nginx", "agent"):
    memory.take_place(name, max({base}, first))
    print(memory._own())
"""
    done = subprocess.run(rig.python(script), capture_output=True, text=True, check=True, env=rig.python_environment())
    first, nginx, agent = map(int, done.stdout.split())
    assert first <= max(base, 0)
    assert first < nginx <= agent <= 1000
    assert nginx < agent or agent == 1000
