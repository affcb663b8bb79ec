"""Two servers in CERTMGR_HOST: one away, one behind, and both at odds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from entrypoint.demo.pki import Issued
from entrypoint.demo.stage import NAME, fingerprint
from tests.support.certmgr import FaultyCertMgr
from tests.support.front import Front, credential


@contextmanager
def _two(interval: int = 300) -> Iterator[tuple[Front, FaultyCertMgr]]:
    """Nothing started yet; the stage's own CertMgr is the first one."""
    with Front({"CERTMGR_CHECK_INTERVAL": str(interval)}) as front:
        default = front.authority.issue("certmgr2.acme.com")
        with FaultyCertMgr(credential(default)) as second:
            hosts = [f"{host}:{port}" for host, port in (front.certmgr.address, second.address)]
            front.environment = {**front.environment, "CERTMGR_HOST": ", ".join(hosts)}
            yield front, second


def _older(front: Front) -> Issued:
    return front.authority.issue(NAME, key=front.issued.key, not_before=datetime.now(UTC) - timedelta(days=20))


def _address(certmgr: FaultyCertMgr) -> str:
    host, port = certmgr.address
    return f"{host}:{port}"


def test_the_first_one_is_down() -> None:
    """The second one is used and named as the source; when it fails as well, both are named."""
    with _two() as (front, second):
        front.certmgr.stop()
        second.put(credential(front.issued))
        front.start()
        front.until_served(front.issued)
        assert front.status()["certmgr"] == _address(second)
        second.stop()
        entry = front.check()
        assert entry["outcome"] == "unreachable"
        for host in (front.certmgr, second):
            assert str(host.address[1]) in entry["detail"]
        assert front.served() == fingerprint(front.issued)


def test_the_first_one_has_only_its_default_certificate() -> None:
    """A server that is not listed in "Servers with access" does not keep the other one from being asked."""
    with _two() as (front, second):
        second.put(credential(front.issued))
        front.start()
        front.until_served(front.issued)
        second.stop()
        assert front.check()["outcome"] == "wrong-name"


def test_a_stale_replica_first() -> None:
    """It presents an older certificate than the one served: the one from the second stays, and renewals are taken
    from there until the first has caught up."""
    with _two() as (front, second):
        front.put(front.issued)
        second.put(credential(front.issued))
        front.start()
        front.until_served(front.issued)
        front.put(_older(front))
        before = front.footprint()
        assert front.check()["outcome"] == "unchanged"
        assert front.footprint() == before
        front.issued = front.authority.issue(NAME, key=front.issued.key)
        second.put(credential(front.issued))
        assert front.check()["outcome"] == "installed"
        assert front.served() == fingerprint(front.issued)
        assert front.status()["certmgr"] == _address(second)
        second.stop()
        assert front.check()["outcome"] == "not-newer"
        assert front.served() == fingerprint(front.issued)


def test_flapping_between_two_makes_no_storm() -> None:
    """However often the first changes between old and new, also alone: the newer one wins, with no further reload."""
    with _two() as (front, second):
        old = _older(front)
        front.put(old)
        second.put(credential(old))
        front.start()
        front.until_served(old)
        front.put(front.issued)
        assert front.check()["outcome"] == "installed"
        before = front.footprint()
        with front.visited() as seen:
            for issued in [old, front.issued, old, front.issued, old]:
                front.put(issued)
                front.check()
            second.stop()
            for issued in [front.issued, old, front.issued]:
                front.put(issued)
                front.check()
        assert seen == {fingerprint(front.issued)}
        assert front.footprint() == before
