"""PEM text (RFC 7468) and password files, as far as neither certificates nor keys need to be parsed."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable

# The labels that OpenSSL, and so NGINX, takes for a certificate's; TRUSTED has settings of OpenSSL's behind it.
_BLOCK = re.compile(
    rb"-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----\s+([A-Za-z0-9+/=\s]+)-----END \1-----",
)

PRIVATE_KEY = re.compile(rb"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----(.*?)-----END \1-----", re.DOTALL)


def is_encrypted(key_pem: bytes) -> bool:
    """Whether the first private key is encrypted, by its PEM header (RFC 7468; RFC 1421, section 4.6.1)."""
    block = PRIVATE_KEY.search(key_pem)
    return block is not None and (block[1] == b"ENCRYPTED PRIVATE KEY" or b"Proc-Type: 4,ENCRYPTED" in block[2])


def split_passwords(content: bytes) -> tuple[bytes, ...]:
    """The passwords in a file, as NGINX reads ssl_password_file: one a line, empty lines skipped."""
    return tuple(filter(None, (line.removesuffix(b"\r") for line in content.split(b"\n"))))


def encode(ders: Iterable[bytes]) -> bytes:
    """DER certificates as PEM, in the given order."""
    return b"".join(_block(der) for der in ders)


def _block(der: bytes) -> bytes:
    text = base64.b64encode(der)
    lines = b"\n".join(text[start : start + 64] for start in range(0, len(text), 64))
    return b"-----BEGIN CERTIFICATE-----\n" + lines + b"\n-----END CERTIFICATE-----\n"


def decode(pem: bytes) -> tuple[bytes, ...]:
    """The certificates in a PEM text as DER; all other content is ignored."""
    return tuple(der for label, text in _BLOCK.findall(pem) if (der := _decoded(label, text)))


def _decoded(label: bytes, text: bytes) -> bytes:
    """The bytes of a Base64 text; empty where it is malformed."""
    try:
        der = base64.b64decode(text, validate=False)
    except binascii.Error:
        return b""
    return _first_value(der) if label.startswith(b"TRUSTED") else der


def _first_value(der: bytes) -> bytes:
    """The first DER value in a sequence of bytes, by its length octets (X.690, section 8.1.3)."""
    size = der[1] if len(der) > 1 else 0
    more = size - 0x80 if size > 0x80 else 0
    length = int.from_bytes(der[2 : 2 + more], "big") if more else size
    return der[: 2 + more + length]
