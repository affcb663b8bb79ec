"""What certfront takes while nothing happens: memory and processor time of everything that is not NGINX."""

from __future__ import annotations

import time

from bench import probes
from bench.figures import Figure
from tests.support.front import Front

_AFTER = 20.0  # seconds from the start, with a certificate served all but the first of them
_WATCHED = 10.0  # seconds, the last of them
_BUDGET = 60  # MB


def measure(_runs: int) -> list[Figure]:
    """Measured once: neither varies as times do."""
    with Front({"CERTMGR_CHECK_INTERVAL": "300"}) as front:
        due = time.monotonic() + _AFTER
        front.serve()
        _sleep_until(due - _WATCHED)
        agent, ours = front.agent().pid, _not_nginx(front)
        before = sum(map(probes.cpu, ours))
        _sleep_until(due)
        spent = sum(map(probes.cpu, ours)) - before
        return [
            Figure("at rest: supervisord, PSS", [probes.pss(ours[0])], "MB"),
            Figure("at rest: agent, PSS", [probes.pss(agent)], "MB"),
            Figure("at rest: all but NGINX, PSS", [sum(map(probes.pss, ours))], "MB", _BUDGET),
            Figure("at rest: all but NGINX, if nobody shares", [probes.alone(ours)], "MB", _BUDGET),
            Figure("at rest: CPU of all but NGINX, each second", [spent / _WATCHED], "ms"),
        ]


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def _not_nginx(front: Front) -> list[int]:
    """supervisord, and whatever it started that is not NGINX."""
    supervisord, nginx = front.agent().parents()[0], front.master()
    found = [child for child in supervisord.children(recursive=True) if nginx not in (child, *child.parents())]
    return [supervisord.pid, *(child.pid for child in found)]
