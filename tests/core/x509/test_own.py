"""The user's own certificates: served where NGINX can serve them, and browsers' objections are warnings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from entrypoint.core.model import Outcome
from entrypoint.core.x509.certificate import offered_by_default
from entrypoint.core.x509.own import judge
from tests.support.pki import NOW, Issued, cross_sign, ec_key, issue, key_of, root, rsa_key

NAME = "www.acme.io"
LONG_AGO, AN_HOUR_AGO = NOW - timedelta(days=9), NOW - timedelta(hours=1)
ROOT = root("Root")
BETWEEN = issue("Issuing CA", ROOT, ca=True)
KEY = ec_key(1)
SITE = issue(NAME, BETWEEN, names=[NAME], key=KEY)
OLD_CA = issue("Old CA", ROOT, ca=True, not_before=LONG_AGO, not_after=AN_HOUR_AGO)
CROSSED = cross_sign(ROOT, root("Older"), not_before=LONG_AGO, not_after=AN_HOUR_AGO)
ED25519, BRAINPOOL, SHORT = ed25519.Ed25519PrivateKey.generate(), ec_key(1, ec.BrainpoolP256R1), rsa_key(9, 1024)
CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])


def _site(issuer: Issued = BETWEEN, key: object = KEY, **options: object) -> Issued:
    return issue(NAME, issuer, names=[NAME], key=key, **options)  # type: ignore[arg-type]


OBJECTIONS: dict[str, tuple[Sequence[Issued], Outcome]] = {
    "a leaf alone": ([SITE], Outcome.BROKEN_CHAIN),
    "a stranger in place of the issuer": ([SITE, root("Else")], Outcome.BROKEN_CHAIN),
    "expired": ([_site(not_before=LONG_AGO, not_after=AN_HOUR_AGO), BETWEEN], Outcome.EXPIRED),
    "not yet valid": ([_site(not_before=NOW + timedelta(days=1)), BETWEEN], Outcome.NOT_YET_VALID),
    "below an expired CA": ([_site(OLD_CA), OLD_CA], Outcome.EXPIRED),
    "Ed25519": ([_site(key=ED25519), BETWEEN], Outcome.UNTRUSTED),
    "brainpool": ([_site(key=BRAINPOOL), BETWEEN], Outcome.UNTRUSTED),
    "RSA of 1024 bits": ([_site(key=SHORT), BETWEEN], Outcome.UNTRUSTED),
    "for clients only": ([_site(extensions=[CLIENT]), BETWEEN], Outcome.UNTRUSTED),
    "without alternative names": ([issue(NAME, BETWEEN, key=KEY), BETWEEN], Outcome.UNTRUSTED),
    "an unknown critical extension": (
        [_site(critical=[x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\5\0")]), BETWEEN],
        Outcome.UNTRUSTED,
    ),
    "extensions that nobody can read": (
        [
            issue(
                NAME,
                BETWEEN,
                key=KEY,
                extensions=[x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x05nope")],
            ),
            BETWEEN,
        ],
        Outcome.MALFORMED,
    ),
}


@pytest.mark.parametrize("kind", OBJECTIONS)
def test_what_browsers_object_to_is_a_warning(kind: str) -> None:
    """It is served as it stands in the file; the sentence says what browsers will say."""
    certs, outcome = OBJECTIONS[kind]
    verdict = judge([each.der for each in certs], key=key_of(certs[0].key), now=NOW)
    assert verdict.problems == ()
    assert verdict.chain
    assert verdict.chain.ders == tuple(each.der for each in certs)
    assert verdict.warnings[0].outcome is outcome
    assert verdict.warnings[0].detail.startswith("served as it is, but browsers will object: ")


@pytest.mark.parametrize(
    "certs",
    [[SITE, BETWEEN], [SITE, BETWEEN, ROOT], [SITE, ROOT, BETWEEN], [SITE, BETWEEN, CROSSED], [_site(ROOT), ROOT]],
    ids=["leaf and issuer", "with the root", "in another order", "an expired cross-sign", "a private CA's"],
)
def test_what_browsers_take_is_served_as_it_stands(certs: Sequence[Issued]) -> None:
    """Nothing is left out and nothing moved: the file is the user's."""
    verdict = judge([each.der for each in certs], key=key_of(KEY), now=NOW)
    assert (verdict.problems, verdict.warnings) == ((), ())
    assert verdict.chain
    assert verdict.chain.ders == tuple(each.der for each in certs)


def test_the_leaf_is_put_first() -> None:
    """NGINX would refuse the pair, and nobody can mean that."""
    verdict = judge([ROOT.der, BETWEEN.der, SITE.der], key=key_of(KEY), now=NOW)
    assert verdict.chain
    assert verdict.chain.ders == (SITE.der, BETWEEN.der)


def test_another_key_is_no_pair() -> None:
    """Of the same type or not: NGINX could not serve it."""
    for key, outcome in ((ec_key(2), Outcome.KEY_MISMATCH), (rsa_key(1), Outcome.KEY_TYPE_MISMATCH)):
        verdict = judge([SITE.der, BETWEEN.der], key=key_of(key), now=NOW)
        assert verdict.chain is None
        assert [problem.outcome for problem in verdict.problems] == [outcome]


def test_what_is_no_certificate_is_malformed() -> None:
    """In the leaf's place; behind it, it is NGINX's to judge."""
    verdict = judge([b"junk", BETWEEN.der], key=key_of(KEY), now=NOW)
    assert [problem.outcome for problem in verdict.problems] == [Outcome.MALFORMED]
    assert judge([SITE.der, BETWEEN.der, b"junk"], key=key_of(KEY), now=NOW).chain


@pytest.mark.parametrize(
    ("key", "offered"),
    [
        *((KEY, True), (rsa_key(1), True), (ED25519, True), (ec_key(1, ec.SECP521R1), True)),
        *((BRAINPOOL, False), (ec_key(1, ec.SECP256K1), False), (ec_key(1, ec.BrainpoolP384R1), False)),
    ],
)
def test_what_a_client_of_ours_can_be_shown(key: object, *, offered: bool) -> None:
    """Keys whose signatures Python's TLS offers to take; a handshake shows no other."""
    assert offered_by_default(_site(key=key).der) is offered
    assert not offered_by_default(b"no certificate")
