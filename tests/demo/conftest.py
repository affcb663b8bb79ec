"""One authority for all tests, and a stand-in for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from entrypoint.core.model import KeyType
from entrypoint.demo import pki
from entrypoint.demo.standin import Credential
from tests.support.certmgr import FaultyCertMgr
from tests.support.pki import cached_key

WWW = "www.example.test"


@pytest.fixture(scope="session")
def authority() -> pki.Authority:
    return pki.Authority.create()


@pytest.fixture(scope="session")
def default(authority: pki.Authority) -> Credential:
    issued = authority.issue("certmgr.example.test")
    return Credential(("certmgr.example.test",), issued.key, issued.chain)


@pytest.fixture(scope="session")
def www(authority: pki.Authority) -> Credential:
    return credential(authority, WWW)


@pytest.fixture
def standin(default: Credential, www: Credential) -> Iterator[FaultyCertMgr]:
    with FaultyCertMgr(default, [www], http_port=0) as server:
        yield server


def credential(
    authority: pki.Authority,
    *names: str,
    key_type: KeyType = KeyType.ECDSA,
    key: pki.PrivateKey | None = None,
) -> Credential:
    """A newly issued credential; RSA keys are made once."""
    key = key or (cached_key(key_type) if key_type is KeyType.RSA else pki.new_key(key_type))
    issued = authority.issue(names, key=key)
    return Credential(names, issued.key, issued.chain)
