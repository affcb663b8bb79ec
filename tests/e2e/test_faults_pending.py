"""The same faults as CertMgr's very first answer: TLS waits, says why, and comes as soon as CertMgr is right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import pytest

from entrypoint.demo.stage import fingerprint
from tests.support.clients import accepts
from tests.support.faults import FAULTS, Fault
from tests.support.front import Front

pytestmark = pytest.mark.xdist_group("e2e-faults-pending")


@pytest.fixture(scope="module")
def fronts() -> Iterator[Mapping[str, Front]]:
    """One for each fault: all start together, so that nobody waits for each in turn."""
    with ExitStack() as stack:
        found = {fault.name: stack.enter_context(Front({"CERTMGR_TIMEOUT": "1"})) for fault in FAULTS}
        for fault in FAULTS:
            front = found[fault.name]
            front.put(front.issued)
            fault.happen(front)
            front.start()
        yield found


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_tls_waits_for_the_right_certificate(fronts: Mapping[str, Front], fault: Fault) -> None:
    """The fault is named, HTTP runs, TLS does not; then CertMgr is right, and TLS comes without a restart."""
    front = fronts[fault.name]
    front.until(front.outcome(fault.outcome), fault.outcome)
    said = front.status()
    assert fault.detail in said["detail"]
    assert fault.hint in said["hint"]
    assert said["state"] == "pending"
    assert said["fingerprint_sha256"] is None
    assert front.served() == ""
    assert front.http()[0] == 503
    front.until(lambda: fault.outcome in front.http("/readyz", front.status_port)[2], "the reason in /readyz")
    assert front.http("/readyz", front.status_port)[0] == 503
    front.tested()
    front.repair()
    front.until(lambda: front.served() == fingerprint(front.issued), "TLS")
    front.until(lambda: front.http("/readyz", front.status_port)[0] == 200, "readiness")
    assert accepts(front.https_port)
    front.tested()
    front.stop()
