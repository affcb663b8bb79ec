"""A dual-certificate site: an RSA and an ECDSA key, a chain for each."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from entrypoint.core.model import KeyType
from entrypoint.demo.pki import Issued, encrypted_pem
from entrypoint.demo.stage import NAME, fingerprint
from tests.support.clients import ECDSA_ONLY, RSA_ONLY
from tests.support.front import PASSWORD, Front
from tests.support.pki import cached_key

pytestmark = pytest.mark.xdist_group("e2e-dual")

CIPHERS: Mapping[KeyType, str] = {KeyType.RSA: RSA_ONLY, KeyType.ECDSA: ECDSA_ONLY}
OTHER: Mapping[KeyType, KeyType] = {KeyType.RSA: KeyType.ECDSA, KeyType.ECDSA: KeyType.RSA}


class Dual(Front):
    """``pairs`` holds what is issued for each key type; the RSA key's password is the second one."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs = {kind: self.authority.issue(NAME, key=cached_key(kind, "dual")) for kind in KeyType}
        files = [
            self.secret(f"{kind}.pem", encrypted_pem(issued.key, PASSWORD + kind.encode()))
            for kind, issued in self.pairs.items()
        ]
        self.secret("ssl_pw.txt", b"".join(PASSWORD + kind.encode() + b"\n" for kind in reversed(KeyType)))
        self.environment = {**self.environment, "KEY_FILE": ",".join(map(str, files))}

    def serves(self, *kinds: KeyType) -> bool:
        """Whether clients of these kinds get what is issued, and those of the others nothing."""
        return all(
            self.served(CIPHERS[kind]) == (fingerprint(self.pairs[kind]) if kind in kinds else "") for kind in KeyType
        )

    def says(self, kind: KeyType, outcome: str, state: str) -> bool:
        found = [entry for entry in self.report().get("certificates", []) if entry["key_type"] == kind]
        return [(entry["outcome"], entry["state"]) for entry in found] == [(outcome, state)]


@pytest.fixture(scope="module")
def running() -> Iterator[Dual]:
    with Dual() as front:
        for issued in front.pairs.values():
            front.put(issued)
        front.start()
        front.until(lambda: front.serves(*KeyType), "both chains")
        yield front


@pytest.fixture
def front(running: Dual) -> Dual:
    for kind in KeyType:
        running.until(lambda kind=kind: running.says(kind, "unchanged", "serving"))  # type: ignore[misc]
    return running


@pytest.mark.parametrize("kind", list(KeyType))
def test_each_client_gets_its_kind(front: Dual, kind: KeyType) -> None:
    """A client for one kind of certificate gets that chain, complete and without the root."""
    chain = [certificate.public_bytes(Encoding.DER) for certificate in front.pairs[kind].chain[:-1]]
    assert front.chain(ciphers=CIPHERS[kind]) == chain
    front.tested()


@pytest.mark.parametrize("kind", list(KeyType))
def test_one_alone_is_renewed(front: Dual, kind: KeyType) -> None:
    """It is served and proved; the other kind's fingerprint stays what it was throughout, one generation follows."""
    before, stays = front.generation(), fingerprint(front.pairs[OTHER[kind]])
    front.pairs[kind] = _renewed(front, kind)
    front.put(front.pairs[kind])
    seen = set()

    def renewed() -> bool:
        seen.add(front.served(CIPHERS[OTHER[kind]]))
        return front.serves(*KeyType)

    front.until(renewed, "the renewed chain")
    assert seen == {stays}
    front.until(lambda: front.says(kind, "unchanged", "serving"), "the next check")
    front.until(lambda: front.answers(before + 1), "the generation")
    assert front.generation() == before + 1
    front.tested()


def _renewed(front: Dual, kind: KeyType) -> Issued:
    return front.authority.issue(NAME, key=front.pairs[kind].key)


@pytest.mark.parametrize("kind", list(KeyType))
def test_one_is_missing(kind: KeyType) -> None:
    """The site runs with the other one, the missing one says why and comes in later; then both are ready."""
    other = OTHER[kind]
    with Dual() as front:
        front.put(front.pairs[other])
        front.start()
        front.until(lambda: front.serves(other), "the other chain")
        front.until(lambda: front.says(kind, "key-type-mismatch", "pending"), "the reason")
        assert front.http()[0] == 301
        front.until(lambda: "key-type-mismatch" in front.http("/readyz", front.status_port)[2], "the reason in /readyz")
        assert front.http("/readyz", front.status_port)[0] == 503
        site = (front.current / "site.conf").read_text().splitlines()
        commented = [number for number, line in enumerate(site) if line.startswith("#") and "ssl_certificate" in line]
        assert len(commented) == 2
        assert site[commented[0] - 1].startswith("# certfront: commented out at ")
        front.tested()
        with pytest.raises(ssl.SSLError):
            front.chain(ciphers=CIPHERS[kind])
        front.put(front.pairs[kind])
        front.until(lambda: front.serves(*KeyType), "both chains")
        front.until(lambda: front.http("/readyz", front.status_port)[0] == 200, "readiness")
        front.tested()


def test_one_key_is_wrong() -> None:
    """A password that opens one key only: that pair is served, the other one says wrong-password."""
    with Dual() as front:
        front.secret("ssl_pw.txt", PASSWORD + KeyType.ECDSA.encode() + b"\n")
        for issued in front.pairs.values():
            front.put(issued)
        front.start()
        front.until(lambda: front.serves(KeyType.ECDSA), "the other chain")
        front.until(lambda: len(front.report().get("certificates", [])) == 2, "the report")
        outcomes = {entry["outcome"]: entry["detail"] for entry in front.report()["certificates"]}
        assert "rsa.pem" in outcomes["wrong-password"]
        assert front.serves(KeyType.ECDSA)
        front.tested()


def test_both_are_back_after_a_crash_without_certmgr(front: Dual) -> None:
    """kill -9 of everything, CertMgr away: both chains are served again."""
    front.certmgr.stop()
    front.kill()
    front.start()
    front.until(lambda: front.serves(*KeyType), "both chains")
    front.tested()
