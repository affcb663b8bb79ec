"""A certificate that can only be read in part is a problem of its own pair: the others come in, and the agent lives."""

from __future__ import annotations

import pytest
from cryptography import x509

from entrypoint.core.model import KeyType
from entrypoint.demo.pki import encrypted_pem
from entrypoint.demo.standin import Credential
from tests.core.x509.test_odd import odd
from tests.support.front import PASSWORD
from tests.support.pki import cached_key, ec_key, issue, root
from tests.support.user import SERVER, User

ODD, WELL = "odd.acme.io", "well.acme.io"
CA = root("CA")


@pytest.mark.parametrize("kind", ["from year 0", "PSS without parameters"])
@pytest.mark.parametrize("place", ["leaf", "issuer"])
def test_one_odd_certificate(kind: str, place: str, user: User) -> None:
    """It is malformed, every check again, and comes in once it is mended; meanwhile all else is as ever."""
    well = user.site(WELL)
    between, key = issue("Issuing CA", CA, ca=True, key=ec_key(90)), cached_key(KeyType.ECDSA, ODD)
    leaf = issue(ODD, between, names=[ODD], key=key)
    chain = [odd(each, kind) if where == place else each.der for each, where in ((leaf, "leaf"), (between, "issuer"))]
    (user.etc / f"{ODD}.key").write_bytes(encrypted_pem(key, PASSWORD))
    user.put_file(f"conf.d/{ODD}.conf", SERVER, name=ODD)
    user.certmgr.put(_credential(key, chain))
    user.give(well, WELL)
    user.start()
    user.until(lambda: user.serves(well, WELL), "the other one")
    user.until(lambda: user.entry(ODD).get("outcome") == "malformed", "the outcome")
    assert [*user.commented_out()] == [f"{ODD}.conf:1"]
    assert user.http("/healthz", user.status_port)[0] == 200
    assert "Traceback" not in user.log()
    user.certmgr.put(_credential(key, [leaf.der, between.der]))
    user.until(lambda: user.entry(ODD).get("outcome") in ("installed", "unchanged"), "after the repair")


def _credential(key: object, chain: list[bytes]) -> Credential:
    certificates = [x509.load_der_x509_certificate(der) for der in chain]
    return Credential((ODD,), key, certificates)  # type: ignore[arg-type]
