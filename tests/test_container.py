"""container.sh, with a program of ours in certfront's place: what it hands over, and which signals it survives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.waiting import until

SCRIPT = Path(__file__).parent.parent / "entrypoint" / "container.sh"
# It tells its ignored and blocked signals (proc(5)), and lives until it is killed.
PROGRAM = f"""#!{sys.executable} -IS
import os, time
lines = [line for line in open("/proc/self/status") if line.startswith(("SigIgn:", "SigBlk:"))]
open("{{folder}}/signals.new", "w").writelines(lines)
os.rename("{{folder}}/signals.new", "{{folder}}/signals")
time.sleep(60)
"""
PREPARING = """#!/bin/sh
touch {folder}/preparing
while [ ! -e {folder}/go ]; do sleep 0.02; done
"""
STOPS = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}
OTHERS = signal.valid_signals() - STOPS - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}

Start = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    programs = {"certfront": PROGRAM, "10-slow.sh": PREPARING, "find": f"#!/bin/sh\necho {tmp_path}/10-slow.sh\n"}
    for name, text in programs.items():
        (tmp_path / name).write_text(text.replace("{folder}", str(tmp_path)))
        (tmp_path / name).chmod(0o755)
    started: list[subprocess.Popen[bytes]] = []

    def begin() -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        # A shell that runs the tests in its background ignores INT and QUIT, and passes that on; an engine does not.
        command = ["env", "--default-signal", "/bin/sh", str(SCRIPT), "run"]
        started.append(subprocess.Popen(command, env=environment, start_new_session=True))
        until((tmp_path / "preparing").exists, "its first file")
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_signals_while_it_prepares(tmp_path: Path, start: Start) -> None:
    """All signals that mean something only to a running certfront, or to nobody, leave the preparation alone."""
    process = start()
    for number in OTHERS:
        process.send_signal(number)
    (tmp_path / "go").touch()
    until((tmp_path / "signals").exists, "certfront's turn")
    assert process.poll() is None


@pytest.mark.parametrize("number", sorted(STOPS))
def test_a_stop_while_it_prepares(tmp_path: Path, start: Start, number: int) -> None:
    """It ends with 0 as soon as the script that runs has ended, and certfront never starts."""
    process = start()
    process.send_signal(number)
    (tmp_path / "go").touch()
    assert process.wait(30) == 0
    assert not (tmp_path / "signals").exists()


def test_what_certfront_inherits(tmp_path: Path, start: Start) -> None:
    """While Python starts a stop waits, and nothing else can end it."""
    (tmp_path / "go").touch()
    start()
    until((tmp_path / "signals").exists, "certfront's turn")
    masks = {line.split()[0]: int(line.split()[1], 16) for line in (tmp_path / "signals").read_text().splitlines()}
    assert {number for number in STOPS if masks["SigBlk:"] >> (number - 1) & 1} == STOPS
    assert {number for number in OTHERS if masks["SigIgn:"] >> (number - 1) & 1} == OTHERS
    assert not {number for number in STOPS if masks["SigIgn:"] >> (number - 1) & 1}
