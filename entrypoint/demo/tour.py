"""``certfront demo``: a guided tour with a real NGINX and real TLS, against the stand-in CertMgr."""

from __future__ import annotations

import shutil
import signal
import sys
import textwrap
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from entrypoint.demo.ports import Ports, are_free
from entrypoint.demo.stage import NAME, Stage, StepFailed, fingerprint
from entrypoint.system.signals import ENDING

# Known beforehand, so that a container can publish them; others where somebody listens there already.
_PORTS = (8080, 8443, 8081)


class _Row(NamedTuple):
    title: str
    result: str
    seconds: float
    good: bool


def run(*, stay: bool) -> int:
    """Play the tour; then stay up until Ctrl-C, or end. Returns 0, or 1 if a step failed."""
    for number in (signal.SIGTERM, signal.SIGQUIT):  # SIGQUIT is how an NGINX image is stopped
        signal.signal(number, signal.default_int_handler)
    _say("certfront demo: a stand-in CertMgr, an application and certfront with a real NGINX, all on loopback.")
    rows: list[_Row] = []
    # A signal waits while the stage is built or cleared: what is half there could not be removed.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    others = Ports(0 if are_free(*_PORTS) else 3)  # claimed until the tour ends
    with Stage(others.numbers or _PORTS) as stage:
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
            rows += _play(stage)
            _table(rows)
            if stay and _all_good(rows):
                _stay(stage)
        except KeyboardInterrupt:
            _say("\nEnded; nothing is left behind.")
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    return 0 if _all_good(rows) else 1


def _all_good(rows: list[_Row]) -> bool:
    return len(rows) == len(_STEPS) and all(row.good for row in rows)


def _play(stage: Stage) -> list[_Row]:
    rows: list[_Row] = []
    for number, (title, play) in enumerate(_STEPS.items(), 1):
        _say(f"\n{number}. {title}")
        started = time.monotonic()
        try:
            result, good = play(stage), True
        except StepFailed as error:
            result, good = str(error), False
        rows.append(_Row(title, result, time.monotonic() - started, good))
        _say(f"   {'ok' if good else 'FAILED'}: {result}")
        if not good:
            _say("\n   | ".join(["   certfront's log ends with:", *stage.log().splitlines()[-20:]]))
            break
    return rows


def _boot(stage: Stage) -> str:
    stage.start()
    took = stage.wait("the first HTTP answer", 10, lambda: stage.http()[0] == 503)
    stage.wait("the reason in the status", 10, stage.outcome("wrong-name"))
    entry = stage.status()
    _say(f"   port 80 answers 503 with a pending page after {took:.1f} s; TLS is commented out.")
    _quote(entry)
    return f"HTTP after {took:.1f} s, TLS waits"


def _first_certificate(stage: Stage) -> str:
    stage.put(stage.issued)
    took = stage.wait("TLS", 15, lambda: stage.served() == fingerprint(stage.issued))
    stage.wait("the outcome in the status", 5, lambda: stage.status().get("state") == "serving")
    stage.wait("the redirect to HTTPS", 5, lambda: stage.http()[0] == 301)
    return f"TLS {took:.1f} s after CertMgr had it"


def _renewal(stage: Stage) -> str:
    stage.issued = stage.authority.issue(NAME, key=stage.issued.key)
    stage.put(stage.issued)
    visits: list[str] = []

    def renewed() -> bool:
        visits.append(stage.served())
        return visits[-1] == fingerprint(stage.issued)

    took = stage.wait("the renewed certificate", 10, renewed)
    stage.wait("the outcome in the status", 5, stage.outcome("unchanged"))
    if "" in visits:
        raise StepFailed(f"{visits.count('')} of {len(visits)} visitors were refused")
    return f"live after {took:.1f} s, {len(visits)} visitors, none refused"


def _imposter(stage: Stage) -> str:
    forged = stage.authority.issue(NAME, key=stage.issued.key)
    stage.put(forged)
    stage.certmgr.imposter = True
    stage.wait("the refusal", 10, stage.outcome("handshake-failed"))
    entry = stage.status()
    _say("   somebody presents the right chain, but signs with another key.")
    _quote(entry)
    _still_serving(stage)
    stage.put(stage.issued)
    stage.certmgr.imposter = False
    stage.wait("recovery", 10, stage.outcome("unchanged"))
    return "refused, the good one served on"


def _away(stage: Stage) -> str:
    stage.certmgr.stop()
    stage.wait("the outcome", 10, stage.outcome("unreachable"))
    _quote(stage.status())
    _still_serving(stage)
    return "unreachable, the site is served on"


def _restart_offline(stage: Stage) -> str:
    stage.kill()
    stage.start()
    took = stage.wait("TLS after the restart", 5, lambda: stage.served() == fingerprint(stage.issued))
    return f"TLS back after {took:.1f} s"


def _still_serving(stage: Stage) -> None:
    if stage.served() != fingerprint(stage.issued):
        raise StepFailed("the good certificate is not served any more")


_STEPS: dict[str, Callable[[Stage], str]] = {
    "Boot without a certificate": _boot,
    "First certificate": _first_certificate,
    "Renewal with the same key": _renewal,
    "Imposter with a foreign key": _imposter,
    "CertMgr goes away": _away,
    "kill -9, restart offline": _restart_offline,
}


def _table(rows: list[_Row]) -> None:
    width = max(len(row.title) for row in rows)
    lines = [
        f"{'ok    ' if row.good else 'FAILED'} {row.seconds:4.1f} s  {row.title:<{width}}  {row.result}" for row in rows
    ]
    rule = "-" * min(shutil.get_terminal_size().columns, max(map(len, lines)))
    _say("\n".join(["", rule, *lines, rule]))


def _stay(stage: Stage) -> None:
    stage.certmgr.start()
    host, port = stage.certmgr.address
    _say(f"""
Still running, for you to look at:
  the site     curl -k --resolve {NAME}:{stage.https_port}:127.0.0.1 https://{NAME}:{stage.https_port}/
  its status   http://127.0.0.1:{stage.status_port}/status.json
  port 80      http://127.0.0.1:{stage.http_port}/
  CertMgr      openssl s_client -connect {host}:{port} -servername {NAME} -showcerts
  the log      {stage.folder}/certfront.log
Ctrl-C ends everything and leaves nothing behind.""")
    # Blocked signals stay pending: one that comes just before the wait is not lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    signal.sigwait(ENDING)
    raise KeyboardInterrupt


def _quote(entry: dict[str, Any]) -> None:
    """The status's detail of a refusal, wrapped for the terminal."""
    text = f"certfront says: {entry['outcome']}: {entry['detail']}"
    paragraphs = [text, f"hint: {entry['hint']}"] if entry["hint"] else [text]
    width = shutil.get_terminal_size().columns
    for paragraph in paragraphs:
        _say(textwrap.fill(paragraph, width, initial_indent="   ", subsequent_indent="     "))


def _say(text: str) -> None:
    print(text, flush=True, file=sys.stdout)
