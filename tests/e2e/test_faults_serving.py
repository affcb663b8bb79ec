"""Whatever CertMgr does wrong: what is served stays, is said in words, and heals by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from entrypoint.demo.stage import fingerprint
from tests.support.faults import CHANGES, FAULTS, Fault
from tests.support.front import Front

pytestmark = pytest.mark.xdist_group("e2e-faults-serving")

INTERVAL = 1  # seconds


@pytest.fixture(scope="module")
def running() -> Iterator[Front]:
    with Front({"CERTMGR_CHECK_INTERVAL": str(INTERVAL), "CERTMGR_TIMEOUT": "1"}) as front:
        yield front.serve()


@pytest.fixture
def front(running: Front) -> Iterator[Front]:
    running.until(running.outcome("unchanged"))
    yield running
    running.repair()


@pytest.mark.parametrize("fault", [*CHANGES, *FAULTS], ids=str)
def test_what_is_served_outlives_the_fault(front: Front, fault: Fault) -> None:
    """The fault is named, with a hint; the certificate is served throughout; recovery follows within an interval."""
    before, good = front.footprint(), fingerprint(front.issued)
    with front.visited() as seen:
        fault.happen(front)
        front.until(front.outcome(fault.outcome), fault.outcome)
        said = front.status()
        assert fault.detail in said["detail"]
        assert fault.hint in said["hint"]
        assert bool(fault.hint) == bool(said["hint"])
        assert said["fingerprint_sha256"] == good
        assert said["state"] in ("serving", "stale")
        assert front.http("/readyz", front.status_port)[0] == 200
        assert front.http()[0] == 301
        front.repair()
        took = front.until(front.outcome("unchanged"), "recovery")
    assert took < INTERVAL + 10
    assert seen == {good}
    assert front.footprint() == before
    front.tested()
