"""What browsers refuse is untrusted, with the reason in words; what they take passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from entrypoint.core.model import Outcome, Verdict
from entrypoint.core.x509.vet import vet
from tests.core.x509.mutants import _signed, parse
from tests.support.pki import NOW, Issued, PrivateKey, ec_key, issue, key_of, root, rsa_key

NAME = "www.acme.io"
ROOT = root("Root")
BETWEEN = issue("Issuing CA", ROOT, ca=True)
EC, RSA = ec_key(1), rsa_key(1)
_UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\5\0")
_EMAIL = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
_CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
_ODD_USE = x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.3.6.1.4.1.99999.2")])
_POISON = x509.PrecertPoison()


def _usage(*bits: str) -> x509.KeyUsage:
    names = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: name in bits for name in names})


def _leaf(
    issuer: Issued = BETWEEN, *, key: PrivateKey = EC, names: Sequence[str] = (NAME,), **options: object
) -> Issued:
    return issue(NAME, issuer, names=names, key=key, plain=True, **options)  # type: ignore[arg-type]


def _between(**options: object) -> Issued:
    """An issuer of another kind, in place of the usual one."""
    return issue("Issuing CA", ROOT, **{"ca": True, "plain": True, **options})  # type: ignore[arg-type]


def _look(*certs: Issued, wanted: Sequence[str] = (NAME,)) -> Verdict:
    return vet([each.der for each in certs], key=key_of(certs[0].key), wanted=wanted, now=NOW)


def _old(issued: Issued, signer: Issued) -> Issued:
    """The certificate as version 1 has it: without a version and without extensions."""
    (tree,) = parse(issued.der) or ()
    assert tree.inside
    fields = tree.inside[0].inside or ()
    assert (fields[0].tag, fields[-1].tag) == (0xA0, 0xA3)
    shorter = replace(tree, inside=(replace(tree.inside[0], inside=fields[1:-1]), *tree.inside[1:]))
    return Issued(x509.load_der_x509_certificate(_signed(shorter, signer.key)), issued.key)


REFUSED_LEAVES = {
    "an unknown critical extension": (_leaf(critical=[_UNKNOWN]), "1.3.6.1.4.1.99999.1"),
    "issuer's alternative name, critical": (
        _leaf(critical=[x509.IssuerAlternativeName([x509.DNSName("x")])]),
        "2.5.29.18",
    ),
    "a precertificate": (_leaf(critical=[_POISON]), "precertificate"),
    "a precertificate's poison, not critical": (_leaf(extensions=[_POISON]), "precertificate"),
    "no alternative name": (_leaf(names=()), "no subject alternative name"),
    "no alternative name, RSA": (_leaf(names=(), key=RSA), "no subject alternative name"),
    "version 1": (_old(_leaf(), BETWEEN), "version 1"),
    "version 1, RSA": (_old(_leaf(key=RSA), BETWEEN), "version 1"),
    "ECDSA that may only agree on keys": (_leaf(extensions=[_usage("key_agreement")]), "digitalSignature"),
    "ECDSA that may only encipher": (_leaf(extensions=[_usage("key_encipherment")]), "lacks digitalSignature"),
    "RSA that may only sign lists": (_leaf(key=RSA, extensions=[_usage("crl_sign")]), "lacks digitalSignature and key"),
    "for clients": (_leaf(extensions=[_CLIENT]), "extended key usage is clientAuth"),
    "for mail": (_leaf(extensions=[_EMAIL]), "extended key usage is emailProtection"),
    "for what nobody knows": (_leaf(extensions=[_ODD_USE]), "extended key usage is 1.3.6.1.4.1.99999.2"),
}


@pytest.mark.parametrize("kind", REFUSED_LEAVES)
def test_a_leaf_that_browsers_refuse(kind: str) -> None:
    """Untrusted and nothing else, with and without the root at hand; the sentence has the reason."""
    leaf, reason = REFUSED_LEAVES[kind]
    verdict = _look(leaf, BETWEEN, ROOT)
    assert {problem.outcome for problem in verdict.problems} == {Outcome.UNTRUSTED}
    assert reason in "; ".join(problem.detail for problem in verdict.problems)
    assert all(problem.detail.startswith("the certificate: ") and problem.hint for problem in verdict.problems)


_SHORT_ROOT = issue("Short", ROOT, critical=[x509.BasicConstraints(ca=True, path_length=0)], plain=True)
_ABOVE_SHORT = issue("Issuing CA", _SHORT_ROOT, ca=True, plain=True)
_ONE = issue("One", ROOT, critical=[x509.BasicConstraints(ca=True, path_length=1)], plain=True)
_TWO, _THREE = (issue(name, _ONE, ca=True, plain=True) for name in ("Two", "Three"))
_FOUR = issue("Four", _TWO, ca=True, plain=True)


def _limited(permitted: Sequence[str] = (), excluded: Sequence[str] = ()) -> Issued:
    trees = [[_tree(each) for each in some] or None for some in (permitted, excluded)]
    return _between(critical=[x509.NameConstraints(trees[0], trees[1])])


def _tree(text: str) -> x509.GeneralName:
    return x509.IPAddress(ip_network(text)) if "/" in text else x509.DNSName(text)


def _below(issuer: Issued, *more: Issued, **options: object) -> tuple[Issued, ...]:
    return (_leaf(issuer, **options), issuer, *more)  # type: ignore[arg-type]


REFUSED_CHAINS = {
    "an unknown critical extension above": (_below(_between(critical=[_UNKNOWN])), "1.3.6.1.4.1.99999.1"),
    "a version 1 certificate above": (_below(_old(_between(), ROOT)), "version 1"),
    "no basic constraints above": (_below(_between(ca=False)), "no CA certificate"),
    "an issuer that may not sign": (_below(_between(extensions=[_usage("crl_sign")])), "lacks keyCertSign"),
    "an issuer that may only sign handshakes": (
        _below(_between(extensions=[_usage("digital_signature")])),
        "keyCertSign",
    ),
    "an issuer for clients only": (
        _below(_between(extensions=[_CLIENT])),
        "may not issue certificates for TLS servers",
    ),
    "an issuer for mail only": (_below(_between(extensions=[_EMAIL])), "emailProtection"),
    "a CA too many": (_below(_ABOVE_SHORT, _SHORT_ROOT), "it allows 0 CAs below it (path length constraint)"),
    "two CAs, one allowed": (_below(_FOUR, _TWO, _ONE), "it allows 1 CAs below it"),
    "a name outside of what is allowed": (_below(_limited(["acme.com"])), f"do not allow {NAME}"),
    "a name that is like what is allowed": (_below(_limited(["me.io"])), f"do not allow {NAME}"),
    "a name inside of what is forbidden": (_below(_limited(["acme.io"], ["www.acme.io"])), f"do not allow {NAME}"),
    "one name of two": (_below(_limited(["acme.io"]), names=[NAME, "www.acme.com"]), "do not allow www.acme.com"),
    "a wildcard that forbidden names are in": (
        _below(_limited(excluded=["evil.acme.io"]), names=[NAME, "*.acme.io"]),
        "do not allow *.acme.io",
    ),
    "an address outside of what is allowed": (
        _below(_limited(["192.0.2.0/24"]), names=[NAME, "198.51.100.1"]),
        "198.51.100.1",
    ),
    "an address inside of what is forbidden": (
        _below(_limited(excluded=["2001:db8::/32"]), names=[NAME, "2001:db8::1"]),
        "2001:db8::1",
    ),
}


@pytest.mark.parametrize("kind", REFUSED_CHAINS)
def test_a_chain_that_browsers_refuse(kind: str) -> None:
    """Untrusted and nothing else; the sentence has the reason."""
    certs, reason = REFUSED_CHAINS[kind]
    verdict = _look(*certs)
    assert {problem.outcome for problem in verdict.problems} == {Outcome.UNTRUSTED}
    assert reason in "; ".join(problem.detail for problem in verdict.problems)


TAKEN = {
    "a private CA's, without anything": _below(BETWEEN),
    "RSA that may only encipher": _below(BETWEEN, key=RSA, extensions=[_usage("key_encipherment")]),
    "RSA that may only sign": _below(BETWEEN, key=RSA, extensions=[_usage("digital_signature")]),
    "names with underscores": _below(BETWEEN, names=[NAME, "my_host.acme.io", "_x.acme.io"]),
    "an unknown extension": _below(BETWEEN, extensions=[_UNKNOWN]),
    "for servers and clients": _below(
        BETWEEN, critical=[x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])]
    ),
    "for anything": _below(BETWEEN, extensions=[x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])]),
    "an issuer for servers": _below(_between(extensions=[x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])])),
    "must staple, critical": _below(BETWEEN, critical=[x509.TLSFeature([x509.TLSFeatureType.status_request])]),
    "as many CAs as are allowed": _below(_THREE, _ONE),
    "names as they are allowed": _below(_limited(["acme.io", "192.0.2.0/24"]), names=[NAME, "*.acme.io", "192.0.2.1"]),
    "names beside what is forbidden": _below(_limited(excluded=["evil.acme.io"])),
    "limits for addresses only": _below(_limited(["192.0.2.0/24"])),
    "any name": _below(_limited([""])),
    "a serial number of 21 bytes": _below(BETWEEN, serial=1 << 158),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_a_chain_that_browsers_take(kind: str) -> None:
    """No stricter than they are."""
    certs = TAKEN[kind]
    verdict = _look(*certs)
    assert verdict.problems == ()
    assert verdict.chain
    assert verdict.chain.ders == tuple(each.cert.public_bytes(Encoding.DER) for each in certs)


def test_somebody_else_s_common_name_is_a_wrong_name() -> None:
    """Of a certificate without alternative names that is not ours, nothing else is said."""
    (problem,) = _look(_leaf(names=()), BETWEEN, wanted=["shop.acme.io"]).problems
    assert problem.outcome is Outcome.WRONG_NAME
