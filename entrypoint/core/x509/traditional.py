"""Whether a password is right for a traditional encrypted key that cannot be read: then the rest is damaged.

Where a whole number of blocks is missing, the length shows nothing, but the first or the last block still does.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from entrypoint.core.x509.key_pem import KeyBlock, declared_length

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm

_KEY_SIZES = {"AES-128-CBC": 16, "AES-192-CBC": 24, "AES-256-CBC": 32, "DES-EDE3-CBC": 24}  # bytes
_VERSIONS = (b"\x02\x01\x00", b"\x02\x01\x01")  # of RSAPrivateKey (RFC 8017) and ECPrivateKey (RFC 5915)
_PADDING = 3  # bytes at least: a wrong password makes so many by chance once in 2^24


def is_right(block: KeyBlock, password: bytes) -> bool:
    """Whether the first bytes are those of a key, or the last ones those of its padding (RFC 8018, section 6.1.1)."""
    size = _KEY_SIZES.get(block.cipher)
    if not size or len(block.vector) < 8:
        return False
    plain = _decrypted(block, _derived(password, block.vector[:8], size))
    begins = declared_length(plain) is not None and any(version in plain[2:9] for version in _VERSIONS)
    ends = bool(plain) and _PADDING <= plain[-1] <= len(block.vector) and len(set(plain[-plain[-1] :])) == 1
    return begins or ends


def _derived(password: bytes, salt: bytes, size: int) -> bytes:
    """EVP_BytesToKey(3) with MD5 and one round, as PEM_do_header(3) has it."""
    key = last = b""
    while len(key) < size:
        last = hashlib.md5(last + password + salt, usedforsecurity=False).digest()
        key += last
    return key[:size]


def _decrypted(block: KeyBlock, key: bytes) -> bytes:
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    algorithm: BlockCipherAlgorithm = algorithms.AES(key) if block.cipher.startswith("AES") else TripleDES(key)
    if len(block.vector) * 8 != algorithm.block_size:
        return b""
    decryptor = Cipher(algorithm, modes.CBC(block.vector)).decryptor()
    return decryptor.update(block.der) + decryptor.finalize()
