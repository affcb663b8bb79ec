"""Chains of every form arrive as they were given."""

from __future__ import annotations

import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from entrypoint.core.model import KeyType
from entrypoint.demo import pki
from entrypoint.demo.standin import Credential
from tests.support.certmgr import FaultyCertMgr, ders
from tests.support.clients import fetch, raw_chain
from tests.support.pki import cached_key

from .conftest import WWW, credential


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    "shape", ["with root", "without root", "leaf only", "shuffled", "duplicates", "strangers", "100"]
)
def test_chain_as_given(standin: FaultyCertMgr, authority: pki.Authority, shape: str) -> None:
    """What is presented equals what was given, whatever it is."""
    other = pki.Authority.create("Stranger")
    leaf, middle, root = (issued := authority.issue(WWW)).chain
    strangers = other.issue("a.test").chain
    chain = {
        "with root": (leaf, middle, root),
        "without root": (leaf, middle),
        "leaf only": (leaf,),
        "shuffled": (leaf, root, middle),
        "duplicates": (leaf, leaf, middle, middle, root, middle),
        "strangers": (leaf, *strangers, middle, root),
        "100": (leaf, middle, root, *[strangers[1]] * 97),
    }[shape]
    standin.put(Credential((WWW,), issued.key, chain))
    assert fetch(standin.address, WWW) == [der(certificate) for certificate in chain]


def test_one_megabyte(standin: FaultyCertMgr, authority: pki.Authority) -> None:
    """A Certificate message of more than 1 MB leaves the server whole, and OpenSSL's client refuses it."""
    issued = authority.issue(WWW)
    filler = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), bytes(1_050_000))
    root = authority.root.certificate
    big = (
        x509.CertificateBuilder(root.issuer, root.subject, root.public_key(), 1)
        .not_valid_before(root.not_valid_before_utc)
        .not_valid_after(root.not_valid_after_utc)
        .add_extension(filler, critical=False)
        .sign(authority.root.key, hashes.SHA256())
    )
    standin.put(Credential((WWW,), issued.key, (issued.certificate, big)))
    assert raw_chain(standin.address) == [der(issued.certificate), der(big)]
    with pytest.raises(ssl.SSLError, match=r"(?i)excessive.message.size"):
        fetch(standin.address, WWW)


def test_weak_key(standin: FaultyCertMgr, authority: pki.Authority) -> None:
    """A key of 1024 bits is served, for the sake of those who must refuse it."""
    weak = credential(authority, WWW, key=cached_key(KeyType.RSA, bits=1024))
    standin.remove(WWW)
    standin.put(weak)
    assert raw_chain(standin.address) == ders(weak)
