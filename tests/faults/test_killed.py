"""`kill -9` of the agent at every step of its cycle: NGINX can be started at each point, the next start converges."""

from __future__ import annotations

import pytest

from entrypoint.demo.stage import NAME, fingerprint
from entrypoint.edges import nginx
from tests.support import rig
from tests.support.driven import STEPS, Driven


def _check_the_point(front: Driven) -> None:
    """What must hold whenever the agent is dead."""
    current = front.disk().current()
    assert current is not None
    nginx.test(rig.NEW, current.config)
    nginx.test(rig.NEW, front.disk().config)
    front.pairs()
    assert nginx.generation(front.folder / "run") is not None


def _check_the_end(front: Driven, wanted: str) -> None:
    """What must hold when all is done again."""
    front.until(lambda: front.served() == wanted, "the wanted certificate")
    front.until(lambda: front.status().get("fingerprint_sha256") == wanted, "a settled status")
    front.until(lambda: _settled(front), "what runs is what was proved")
    assert front.pairs() >= 1
    assert front.status()["state"] == "serving"


def _settled(front: Driven) -> bool:
    current, verified = front.disk().current(), front.disk().verified()
    numbers = {current.number if current else 0, verified.number if verified else 0}
    return numbers == {nginx.generation(front.folder / "run")}


@pytest.mark.parametrize(("when", "how"), [("first", "container"), ("renewal", "agent")])
@pytest.mark.parametrize("step", STEPS)
def test_killed(step: str, when: str, how: str) -> None:
    """Killed at this step, alone or with everything else, certfront ends up serving what CertMgr has."""
    with Driven() as front:
        before = ""
        if when == "renewal":
            front.put(front.issued)
            front.drive(step)
            before = fingerprint(front.issued)
            front.until(lambda: front.served() == before, "the first certificate")
            front.until(lambda: front.status().get("fingerprint_sha256") == before, "the first check's end")
            front.until(lambda: _settled(front), "a verified generation")
            front.mark("armed")
            front.issued = front.authority.issue(NAME, key=front.issued.key)
        else:
            front.mark("armed")
            front.drive(step)
        front.put(front.issued)
        wanted = fingerprint(front.issued)
        front.until(lambda: front.marked("died"), "the agent's death")
        _check_the_point(front)
        if when == "renewal":
            assert front.served() in (before, wanted)
        if how == "container":
            front.kill()
            front.start()
        else:
            front.mark("go")
        _check_the_end(front, wanted)
        if how == "container":
            assert not [name for name in front.generations() if not name.isdigit()]
