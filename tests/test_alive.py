"""Alive by one clock, for NGINX, which reads another one that somebody may set."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from entrypoint import publisher
from entrypoint.edges.status_files import SLOT, StatusFiles
from entrypoint.publisher import Alive

NOW = 1_800_000_000.0
DAY = 86400.0


class Clocks:
    """Both clocks, and what NGINX finds at this moment."""

    def __init__(self, folder: Path) -> None:
        self.wall, self.passed = NOW, 0.0
        self.files = StatusFiles(folder)
        self.files.prepare()
        self.alive = Alive(self.files, lambda: self.wall, lambda: self.passed)

    def go(self, seconds: float) -> None:
        self.wall, self.passed = self.wall + seconds, self.passed + seconds

    def healthy(self) -> bool:
        return (self.files.folder / "alive" / str(int(self.wall) // SLOT)).exists()


@pytest.fixture
def clocks(tmp_path: Path) -> Clocks:
    return Clocks(tmp_path)


@pytest.mark.parametrize("step", [DAY, -DAY, 3650 * DAY, -3650 * DAY, 3600, -3600, 61, -11])
def test_a_step(clocks: Clocks, step: float) -> None:
    """After a step of any length, forward or back, the agent counts as alive at the next look, but no longer for it."""
    clocks.alive.go_on(60)
    clocks.go(20)
    clocks.wall += step
    clocks.alive.look()
    for _ in range(4):
        assert clocks.healthy()
        clocks.go(9.9)
    clocks.go(SLOT + 1)
    clocks.alive.look()
    assert not clocks.healthy()
    clocks.wall -= step
    clocks.alive.look()
    assert not clocks.healthy()


def test_drift(clocks: Clocks) -> None:
    """What a clock is slewed by writes nothing."""
    clocks.alive.go_on(60)
    before = {path.name: path.stat().st_ino for path in (clocks.files.folder / "alive").iterdir()}
    clocks.go(1)
    clocks.wall += 0.5
    clocks.alive.look()
    assert {path.name: path.stat().st_ino for path in (clocks.files.folder / "alive").iterdir()} == before


def test_nobody_has_begun(clocks: Clocks) -> None:
    """Before the first cycle there is nothing to mark."""
    clocks.wall += DAY
    clocks.alive.look()
    assert not clocks.healthy()


def test_it_is_followed(clocks: Clocks, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop looks by itself, again and again, also where the files cannot be written for a moment."""
    monkeypatch.setattr(publisher, "_LOOK", 0.01)

    async def run() -> None:
        clocks.alive.go_on(600)
        clocks.alive.follow_the_clock(asyncio.get_running_loop())
        for step in (DAY, -2 * DAY):
            clocks.wall += step
            while not clocks.healthy():
                await asyncio.sleep(0.01)
        folder = clocks.files.folder / "alive"
        folder.rename(folder.with_name("away"))
        clocks.wall += DAY
        await asyncio.sleep(0.05)
        folder.with_name("away").rename(folder)
        while not clocks.healthy():
            await asyncio.sleep(0.01)

    asyncio.run(run())
