"""Encrypted private keys: the password that opens one, and the key in clear.

The library for keys is imported when the first one is opened: NGINX is up before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from entrypoint.core.x509.pem import PRIVATE_KEY

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes


def opener(key_pem: bytes, passwords: Iterable[bytes]) -> bytes | None:
    """The first password that opens an encrypted key."""
    opened = _opened(key_pem, passwords)
    return opened[1] if opened else None


def in_clear(key_pem: bytes, passwords: Iterable[bytes]) -> bytes | None:
    """An encrypted key in clear, None where no password opens it."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    opened = _opened(key_pem, passwords)
    return opened[0].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) if opened else None


def _opened(key_pem: bytes, passwords: Iterable[bytes]) -> tuple[PrivateKeyTypes, bytes] | None:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    block = PRIVATE_KEY.search(key_pem)
    for password in dict.fromkeys(passwords) if block else ():
        with contextlib.suppress(ValueError, TypeError):  # noise decrypted with the wrong password breaks in many ways
            return load_pem_private_key(block[0] if block else b"", password), password
    return None
