"""Encrypted keys: which password opens one, and what it is in clear."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from entrypoint.core.x509.decryption import in_clear, opener
from tests.support.pki import PrivateKey, ec_key, key_pem, rsa_key

SECRET = b"correct horse battery"
RSA, EC = rsa_key(1), ec_key(1)
ENCRYPTED: dict[str, tuple[PrivateKey, bytes]] = {
    "pkcs8": (EC, key_pem(EC, SECRET)),
    "traditional": (RSA, key_pem(RSA, SECRET, traditional=True)),
    "behind text": (EC, b"of Domino's\n" + key_pem(EC, SECRET)),
}


@pytest.mark.parametrize("form", ENCRYPTED)
def test_opener(form: str) -> None:
    """The first password that fits, whatever stands before it."""
    _, pem = ENCRYPTED[form]
    assert opener(pem, [b"other", SECRET, b"more"]) == SECRET
    assert opener(pem, [b"other"]) is None
    assert opener(pem, []) is None
    assert opener(b"no key", [SECRET]) is None


@pytest.mark.parametrize("form", ENCRYPTED)
def test_in_clear(form: str) -> None:
    """The same key without its encryption; none where it stays closed."""
    key, pem = ENCRYPTED[form]
    plain = in_clear(pem, [b"other", SECRET])
    assert plain
    assert load_pem_private_key(plain, None).public_key() == key.public_key()
    assert in_clear(pem, [b"other"]) is None
