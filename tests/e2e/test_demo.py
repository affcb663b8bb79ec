"""`certfront demo`: it shows what it promises, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import rig
from tests.support.front import processes_with
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.xdist_group("e2e-demo")


@pytest.fixture
def folder() -> Iterator[Path]:
    """As /tmp: a short path (sockets go into it) that NGINX's workers, another user, may enter."""
    with tempfile.TemporaryDirectory(prefix="tour-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def _demo(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The demo with its folders and its processes where they can be found."""
    environment = {**os.environ, "NGINX_BIN": rig.NEW, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "entrypoint", "demo", *arguments]
    output = subprocess.PIPE
    # A shell starts what runs in its background with Ctrl-C ignored, and that would be inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            for left in processes_with(str(folder)):
                left.kill()


def _ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    assert process.stdout
    said = process.stdout.read()
    return process.wait(PATIENCE), said


def _read_until(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdout
    said = ""
    for line in process.stdout:
        said += line
        if word in line:
            return said
    raise AssertionError(f"{word!r} was not said: {said}")


def _nothing_left(folder: Path) -> None:
    assert list(folder.iterdir()) == []
    assert processes_with(str(folder)) == []


def test_the_tour(folder: Path) -> None:
    """With --exit it ends with 0, each step has succeeded, and neither a process nor a folder is left."""
    with _demo(folder, "--exit") as process:
        said = _read_until(process, "1. ")
        assert list(folder.iterdir())
        assert processes_with(str(folder))
        status, rest = _ended(process)
        said += rest
        assert status == 0, said
        assert "FAILED" not in said
        assert "Traceback" not in said
        assert len([line for line in said.splitlines() if line.startswith("ok ")]) >= 6  # the table at its end
        _nothing_left(folder)


@pytest.mark.parametrize("moment", ["certfront demo:", "2. "])
def test_interrupted(folder: Path, moment: str) -> None:
    """Ctrl-C at any moment ends it all: no process, no folder, no traceback."""
    with _demo(folder) as process:
        said = _read_until(process, moment)
        process.send_signal(signal.SIGINT)
        _, rest = _ended(process)
        assert "Traceback" not in said + rest
        _nothing_left(folder)


def test_interrupted_at_the_very_start(folder: Path) -> None:
    """Ctrl-C as soon as there is a folder, before anything runs."""
    with _demo(folder) as process:
        deadline = time.monotonic() + PATIENCE
        while not list(folder.iterdir()):
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGINT)
        _, said = _ended(process)
        assert "Traceback" not in said
        _nothing_left(folder)


def test_interrupted_while_it_stays(folder: Path) -> None:
    """Without --exit it stays up and says where to look; Ctrl-C ends it then, with 0."""
    with _demo(folder) as process:
        said = _read_until(process, "Ctrl-C")
        assert "/status.json" in said
        process.send_signal(signal.SIGINT)
        status, rest = _ended(process)
        assert status == 0, said + rest
        _nothing_left(folder)
