"""Credentials: what they are made of, and what a manifest says of them, of this version, an older or a damaged one."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pytest

from entrypoint.core.model import KeyType, Refused
from entrypoint.core.x509 import credential, pem
from entrypoint.core.x509.certificate import describe
from tests.support import pki, rig

CA = pki.root()
SITE = pki.issue("www.acme.io", CA, names=["www.acme.io", "*.acme.io"], key=pki.ec_key(7))
ONE = rig.usable(SITE, CA)
# What the first version, and each one since, wrote of a pair.
WRITTEN = {
    "names": ["www.acme.io", "*.acme.io"],
    "key_type": "ecdsa",
    "fingerprint_sha256": describe(SITE.der).fingerprint_sha256,
    "serial": describe(SITE.der).serial,
    "issuer": describe(SITE.der).issuer,
    "not_before": "2026-01-01T00:00:00Z",
    "not_after": "2026-04-01T00:00:00Z",
    "source": "certmgr",
    "certmgr": "certmgr.acme.com:443",
    "installed_at": "2026-01-02T03:04:05Z",
}


def test_written_and_read() -> None:
    """What was written is read; the subject and the public key come out of the chain itself."""
    entry = json.loads(json.dumps(ONE.as_json()))
    found = credential.stored(entry, ONE.chain_pem, ONE.key_pem)
    assert found == ONE
    assert found.as_json() == ONE.as_json()
    assert (found.leaf.subject, found.leaf.spki) == ("", b"")
    assert found.described().leaf == ONE.leaf
    assert ONE.described() is ONE


def test_the_form_on_disk() -> None:
    """Manifests of older versions are read, and written as they were."""
    found = credential.stored(WRITTEN, ONE.chain_pem, ONE.key_pem)
    assert found.as_json() == WRITTEN
    assert found.leaf.key_type is KeyType.ECDSA
    assert found.leaf.not_after - found.leaf.not_before == timedelta(days=90)


@pytest.mark.parametrize("member", WRITTEN)
@pytest.mark.parametrize("value", ["absent", None, 7, [1], ["\ud800"], "\ud800", {"a": 1}, "yesterday"])
def test_damage(member: str, value: object) -> None:
    """What is damaged is absent; the chain, the key and the rest are as they were."""
    entry = {**WRITTEN, member: value}
    if value == "absent":
        del entry[member]
    found = credential.stored(entry, ONE.chain_pem, ONE.key_pem)
    assert (found.ders, found.key_pem) == (ONE.ders, ONE.key_pem)
    assert found.described().leaf == ONE.leaf
    assert {name: each for name, each in found.as_json().items() if name != member} == {
        name: each for name, each in WRITTEN.items() if name != member
    }
    json.dumps(found.as_json()).encode()


def test_what_is_no_chain() -> None:
    """It is kept for NGINX to judge, and cannot be described."""
    found = credential.stored({"source": "file"}, b"no PEM", b"key")
    assert (found.ders, found.chain_pem, found.is_users) == ((), b"no PEM", True)
    with pytest.raises(Refused):
        found.described()


def test_the_same_as_long_as_neither_changes() -> None:
    """The text of the chain is made once; with the same key it is the same object, with another the same chain."""
    other = ONE.with_key(pki.key_pem(SITE.key, b"secret"))
    assert ONE.with_key(bytes(bytearray(ONE.key_pem))) is ONE
    assert other.chain_pem is ONE.chain_pem == pem.encode(ONE.ders)
    assert (other.chain_hash, other.key_hash == ONE.key_hash) == (ONE.chain_hash, False)
    assert "PRIVATE" not in repr(other)


def test_equal() -> None:
    """By chain, key and source: when and from which CertMgr it came makes no other of it."""
    assert replace(ONE, installed_at=None, certmgr="other.acme.com") == ONE
    assert replace(ONE, source=credential.FILE) != ONE
    assert ONE.with_key(b"") != ONE


@pytest.mark.parametrize(
    ("names", "source", "fits"),
    [
        (("www.acme.io",), "certmgr", True),
        (("www.acme.org", "x.acme.io"), "certmgr", True),
        (("www.acme.org",), "certmgr", False),
        (("www.acme.org",), "file", True),
    ],
)
def test_fits(names: tuple[str, ...], source: str, fits: bool) -> None:
    """One of CertMgr's for names that it covers, or some; the user's own for any."""
    assert rig.usable(SITE, source=source).fits(names) is fits


@pytest.mark.process
def test_a_start_takes_no_library() -> None:
    """To read one of a manifest, the library for certificates is not imported."""
    read = "from entrypoint.core.x509.credential import stored; stored({}, b'', b'').as_json()"
    code = f"import sys, entrypoint.boot; {read}; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
