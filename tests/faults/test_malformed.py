"""1,000 answers that are no certificate: refused with a reason each, and nothing else happens."""

from __future__ import annotations

from collections import Counter

from entrypoint.demo.stage import fingerprint
from tests.support import rig
from tests.support.certmgr import Mode
from tests.support.front import Front

MODES = (Mode.MALFORMED_CERTIFICATE, Mode.GARBAGE, Mode.PLAIN_HTTP, Mode.CLOSE, Mode.RESET)
BAD = {"malformed", "not-tls", "handshake-failed", "unreachable"}


def _ask(front: Front, count: int) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    for number in range(count):
        front.certmgr.mode = MODES[number % len(MODES)]
        outcomes[front.check()["outcome"]] += 1
    return outcomes


def test_malformed_answers() -> None:
    """Memory and descriptors stay flat, no generation is written, NGINX is not reloaded, and it serves throughout."""
    with Front({"CERTMGR_CHECK_INTERVAL": "3600", "LOG_LEVEL": "debug"}) as front:
        front.put(front.issued)
        front.start()
        wanted = fingerprint(front.issued)
        front.until(lambda: front.status().get("fingerprint_sha256") == wanted, "the certificate")
        agent = front.agent()
        _ask(front, 250)
        generations, reloaded = front.generations(), front.log().count("reconfiguring")
        workers = rig.workers(front.master().pid)
        memory, descriptors = agent.memory_info().rss, agent.num_fds()
        outcomes = _ask(front, 1000)
        assert set(outcomes) <= BAD
        assert outcomes.total() == 1000
        assert outcomes["malformed"] >= 200
        assert agent.num_fds() <= descriptors + 3
        assert agent.memory_info().rss - memory < 4 * 2**20
        assert front.generations() == generations
        assert rig.workers(front.master().pid) == workers
        assert front.log().count("reconfiguring") == reloaded
        assert front.served() == wanted
        assert front.status()["state"] == "serving"
        assert front.agent() == agent
        front.certmgr.mode = Mode.NORMAL
        assert front.check()["outcome"] == "unchanged"
