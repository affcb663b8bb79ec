"""20,000 mutants of real chains: vetting raises nothing, and lets pass only what holds."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from entrypoint.core.model import Key, Refused, Verdict
from entrypoint.core.x509.certificate import describe, parse_all
from entrypoint.core.x509.vet import vet
from tests.core.x509.mutants import Mutator, parse
from tests.support.pki import NOW, Issued, ec_key, issue, key_of, root, rsa_key

PARTS, EACH = 4, 5000
NAME = "www.acme.io"
_PSS = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
_EXTENSIONS = (
    x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
    x509.AuthorityInformationAccess(
        [x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://o.acme.io"))]
    ),
    x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("2.23.140.1.2.1"), ["http://c.acme.io"])]),
)
_LIMITS = x509.NameConstraints([x509.DNSName("acme.io")], [x509.DNSName("acme.com")])


@dataclass(frozen=True)
class Given:
    """A chain with its root, and the key that it is vetted with."""

    certs: tuple[Issued, Issued, Issued]
    key: Key

    @property
    def ders(self) -> list[bytes]:
        return [cert.der for cert in self.certs]


def _given(kind: str) -> Given:
    pss = _PSS if kind == "PSS" else None
    keys = [ec_key(number) if kind == "ECDSA" else rsa_key(number) for number in (200, 201, 202)]
    top = root(f"{kind} Root", keys[0], rsa_padding=pss)
    between = issue(f"{kind} CA", top, ca=True, key=keys[1], extensions=[_LIMITS], rsa_padding=pss)
    names = [NAME, "*.acme.io", "192.0.2.1"]
    leaf = issue(NAME, between, names=names, key=keys[2], extensions=_EXTENSIONS, rsa_padding=pss)
    return Given((leaf, between, top), key_of(keys[2]))


@pytest.fixture(scope="module")
def chains() -> list[Given]:
    return [_given(kind) for kind in ("RSA", "ECDSA", "PSS")]


def test_the_reader_of_der_loses_nothing(chains: list[Given]) -> None:
    """What is taken apart is put together again byte for byte."""
    for der in (der for each in chains for der in each.ders):
        (tree,) = parse(der) or ()
        assert tree.der() == der


@pytest.mark.fuzz
@pytest.mark.parametrize("part", range(PARTS))
def test_no_mutant_escapes(part: int, chains: list[Given]) -> None:
    """Changed bits, bytes, lengths, tags and values, in leaf, issuer or root, signed anew or not."""
    mutator = Mutator(part)
    good = sum(attempt(mutator, mutator.random.choice(chains)) for _ in range(EACH))
    assert EACH / 20 < good < EACH / 1.5, "the mutants are all alike"


def attempt(mutator: Mutator, given: Given) -> bool:
    """Vet one mutant; whether it passed. Shows that what passes holds."""
    ders, place = given.ders, mutator.random.choice((0, 0, 1, 1, 2))
    ders[place] = mutator.mutant(ders[place], given.certs[min(place + 1, 2)].key)
    roots = mutator.random.choice((None, parse_all(ders[2:])[0], parse_all(given.ders[2:])[0]))
    verdict = vet(ders, key=given.key, wanted=[NAME], now=NOW, roots=roots)
    _described(ders[place])
    if verdict.chain:
        _holds(verdict, ders, given.key)
    else:
        assert verdict.problems
        assert all(problem.detail.isprintable() for problem in verdict.problems)
    return verdict.chain is not None


def _described(der: bytes) -> None:
    with contextlib.suppress(Refused):
        found = describe(der)
        assert all(text.isprintable() for text in (*found.names, found.subject, found.issuer, found.serial))


def _holds(verdict: Verdict, ders: list[bytes], key: Key) -> None:
    """The leaf has our key and name, each certificate was sent, signed the one before it, and is within its dates."""
    assert verdict.chain
    assert (verdict.chain.leaf.spki, NAME in verdict.chain.leaf.names) == (key.spki, True)
    assert set(verdict.chain.ders) <= set(ders)
    path, _ = parse_all(verdict.chain.ders)
    assert all(cert.not_valid_before_utc <= NOW <= cert.not_valid_after_utc for cert in path)
    for cert, issuer in itertools.pairwise(path):
        cert.verify_directly_issued_by(issuer)
