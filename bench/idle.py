"""The cost of an idle check: CertMgr is asked, presents the chain that is served already, and nothing follows."""

from __future__ import annotations

import resource
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import entrypoint
from bench import probes
from bench.figures import Figure
from entrypoint.demo.stage import NAME
from tests.support.front import Front

_BUDGET, _HEALTH_BUDGET = 3, 25  # ms
_WARM_UP, _WARM_UP_BY_TIMER = 20, 3  # checks
_CHECKS = 10  # in a row, for one value
# The seed's way to do the same: fetch by SNI, and compare fingerprints with the file that is served.
_PIPELINE = """
echo | openssl s_client -servername {name} -showcerts -connect {host}:{port} 2>/dev/null |
    sed -ne '/-----BEGIN CERTIFICATE-----/,/-----END CERTIFICATE-----/p' >new.pem
new=$(openssl x509 -in new.pem -noout -fingerprint -sha256)
[ -e cert.pem ] || cp new.pem cert.pem
[ -n "$new" ] && [ "$new" = "$(openssl x509 -in cert.pem -noout -fingerprint -sha256)" ]
"""


def measure(runs: int) -> list[Figure]:
    """Processor time of the agent for one check, and of the seed's pipeline, against the same CertMgr."""
    with Front({"CERTMGR_CHECK_INTERVAL": "3600"}) as front:
        agent = front.serve().agent().pid
        for _ in range(_WARM_UP):
            _check(front)
        pairs = [(_agents(front, agent), _pipelines(front)) for _ in range(runs)]
        health = [_health(front) for _ in range(runs)]
    ours, seeds = zip(*pairs, strict=True)
    return [
        Figure("idle check: CPU of the agent, checks in a row", ours, "ms", _BUDGET),
        Figure("idle check: CPU of the agent, one each second", _by_timer(runs), "ms", _BUDGET),
        Figure("idle check: CPU of the seed's pipeline", seeds, "ms"),
        Figure("idle check: the pipeline, in checks in a row", [seed / own for own, seed in pairs], "x"),
        Figure("health check: CPU, as the image makes it", health, "ms", _HEALTH_BUDGET),
    ]


def _agents(front: Front, agent: int) -> float:
    before = probes.cpu(agent)
    for _ in range(_CHECKS):
        _check(front)
    return (probes.cpu(agent) - before) / _CHECKS


def _by_timer(runs: int) -> list[float]:
    """From one request at CertMgr to the next: a whole check and a second's sleep, after which all caches are cold."""
    with Front({"CERTMGR_CHECK_INTERVAL": "1"}) as front:
        agent = front.serve().agent().pid
        front.until_asked(_WARM_UP_BY_TIMER)
        spent = [_at_next_request(front, agent) for _ in range(runs + 1)]
    return [after - before for before, after in pairwise(spent)]


def _at_next_request(front: Front, agent: int) -> float:
    front.until_asked(1)
    return probes.cpu(agent)


def _check(front: Front) -> None:
    outcome = front.check()["outcome"]
    if outcome != "unchanged":
        raise probes.Missing(f"an idle check: it ended with {outcome}")


def _pipelines(front: Front) -> float:
    folder = front.folder / "pipeline"
    folder.mkdir(exist_ok=True)
    host, port = front.certmgr.address
    script = _PIPELINE.format(name=NAME, host=host, port=port)
    before = _children()
    subprocess.run(["/bin/sh", "-c", script], cwd=folder, check=True, timeout=30)
    return _children() - before


def _health(front: Front) -> float:
    """As certfront.sh starts it."""
    root = str(Path(entrypoint.__file__).parent.parent)
    code = "import sys; sys.path.append(sys.argv.pop(1)); from entrypoint.launch import main; sys.exit(main())"
    environment = {"CERTFRONT_RUN_DIR": str(front.folder / "run")}
    before = _children()
    for _ in range(_CHECKS):
        command = [sys.executable, "-ISOOc", code, root, "health"]
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True, timeout=30)
    return (_children() - before) / _CHECKS


def _children() -> float:
    """Processor time of all processes that were started and waited for, in milliseconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1000
