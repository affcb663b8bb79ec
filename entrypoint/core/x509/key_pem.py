"""The private key in a PEM file that editors, mail programs or environment files may have reformatted.

NGINX reads PEM as OpenSSL does: each line begins at its margin and ends with LF or CR LF, and a line of a traditional
encrypted key has 64 characters. A key that differs from that but is unambiguous is written anew, with the same DER.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from entrypoint.core.x509.pem import PRIVATE_KEY

BEGIN = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
_UTF8_MARK = b"\xef\xbb\xbf"
_ESCAPED_END = re.compile(rb"\\+[rn]")  # as one line of an environment file has it
_HEADERS = re.compile(rb"\s*Proc-Type:\s*(4,\s*ENCRYPTED)\s+DEK-Info:\s*([A-Za-z0-9-]+),\s*([0-9A-Fa-f]+)\s")
_WHOLE_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_BLOCK_CIPHERS = {b"AES": 16, b"DES": 8}  # bytes; all that may be supported

# Encryption in OpenSSL 3's legacy provider, which NGINX does not load, by object identifier as DER has it.
_LEGACY = {
    "2a864886f70d010501": "PBE-MD2-DES",
    "2a864886f70d010503": "PBE-MD5-DES",
    "2a864886f70d010504": "PBE-MD2-RC2-64",
    "2a864886f70d010506": "PBE-MD5-RC2-64",
    "2a864886f70d01050a": "PBE-SHA1-DES",
    "2a864886f70d01050b": "PBE-SHA1-RC2-64",
    "2a864886f70d010c0101": "PBE-SHA1-RC4-128",
    "2a864886f70d010c0102": "PBE-SHA1-RC4-40",
    "2a864886f70d010c0105": "PBE-SHA1-RC2-128",
    "2a864886f70d010c0106": "PBE-SHA1-RC2-40",
    "2a864886f70d0302": "RC2-CBC",
    "2b0e030207": "DES-CBC",
}


class Damaged(ValueError):
    """The fault of the only private key in a file, as a sentence."""


@dataclass(frozen=True)
class KeyBlock:
    """The first private key of a file: its PEM label, its DER, and the encryption header of a traditional key.

    ``pem`` is the file's content where OpenSSL reads it as it is, else the key alone, written anew.
    """

    label: bytes
    der: bytes
    headers: bytes
    pem: bytes
    block: bytes

    @property
    def encrypted(self) -> bool:
        """Whether a password is needed."""
        return bool(self.headers) or self.label == b"ENCRYPTED PRIVATE KEY"

    @property
    def cipher(self) -> str:
        """The cipher in a traditional key's header (RFC 1421, section 4.6.1.3), or empty."""
        found = _HEADERS.match(self.headers)
        return found[2].decode("ascii") if found else ""

    @property
    def vector(self) -> bytes:
        """The initialization vector in that header."""
        found = _HEADERS.match(self.headers)
        return bytes.fromhex(found[3].decode("ascii")) if found and not len(found[3]) % 2 else b""

    @property
    def legacy(self) -> str:
        """The name of an encryption that NGINX refuses, though other programs take it; empty for all others."""
        if self.label != b"ENCRYPTED PRIVATE KEY":
            return ""
        algorithm = self.der[: max(0, len(self.der) - _encrypted_part(self.der))]
        return next((name for code, name in _LEGACY.items() if _object(code) in algorithm), "")


def find(content: bytes) -> KeyBlock | None:
    """The first private key in a file; None where there is none. Raises `Damaged`."""
    text = _ascii(content)
    found = PRIVATE_KEY.search(text)
    if not found:
        return None
    label, inner = found[1], _ESCAPED_END.sub(b"\n", found[2])
    if label == b"OPENSSH PRIVATE KEY":
        raise Damaged(
            "is in OpenSSH's own format, and not as OpenSSL has it: ssh-keygen -p -m PKCS8 -f FILE converts it"
        )
    headers = _HEADERS.match(inner)
    lines = b"Proc-Type: %s\nDEK-Info: %s,%s\n\n" % (b"4,ENCRYPTED", headers[2], headers[3]) if headers else b""
    der = _decoded(inner[headers.end() :] if headers else inner)
    _must_be_whole(der, headers[2] if headers else b"")
    block = b"-----BEGIN %s-----\n%s%s-----END %s-----\n" % (label, lines, _wrapped(der), label)
    pem = content if _reads_as_it_is(content, block) else block
    return KeyBlock(label, der, lines, pem, block)


def _ascii(content: bytes) -> bytes:
    """The content without byte order mark, and with UTF-16 decoded."""
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if content.startswith(mark):
            return content[2:].decode(encoding, "replace").encode("ascii", "replace")
    if b"-\0-\0-\0" in content or b"\0-\0-\0-" in content:
        return content.replace(b"\0", b"")
    return content.removeprefix(_UTF8_MARK)


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error:
        what = (
            "characters that are no base64" if re.search(rb"[^A-Za-z0-9+/=\s]", text) else "not all of its characters"
        )
        raise Damaged(f"has {what} between its BEGIN and END lines") from None


def _must_be_whole(der: bytes, cipher: bytes) -> None:
    """Check that encrypted DER is a multiple of the cipher's block size: there is no other sign of its length."""
    if cipher:
        size = _BLOCK_CIPHERS.get(cipher[:3], 1)
        if not der or len(der) % size:
            raise Damaged(f"is not whole: {len(der)} bytes are no multiple of {size}, as {cipher.decode()} has it")
        return
    length = declared_length(der)
    if length is None:
        raise Damaged("does not begin as a key does: is its first line missing?")
    if length != len(der):
        what = "is a line missing?" if length > len(der) else "is a line there twice?"
        raise Damaged(f"is not whole: it says that it has {length} bytes, and has {len(der)}; {what}")


def declared_length(der: bytes) -> int | None:
    """The length of all of a DER SEQUENCE by its own header (X.690, section 8.1.3); None where it is none."""
    if len(der) < 2 or der[0] != 0x30:
        return None
    if der[1] < 0x80:
        return 2 + der[1]
    size = der[1] & 0x7F
    return 2 + size + int.from_bytes(der[2 : 2 + size], "big") if 1 <= size <= 4 else None


def _encrypted_part(der: bytes) -> int:
    """The octets after the algorithm of an EncryptedPrivateKeyInfo (RFC 5958, section 3)."""
    start = 2 + (der[1] & 0x7F if der[1] & 0x80 else 0)
    return len(der) - start - (declared_length(der[start:]) or 0)


def _object(code: str) -> bytes:
    value = bytes.fromhex(code)
    return b"\x06" + bytes([len(value)]) + value


def _wrapped(der: bytes) -> bytes:
    text = base64.b64encode(der)
    return b"".join(text[start : start + 64] + b"\n" for start in range(0, len(text), 64))


def _reads_as_it_is(content: bytes, block: bytes) -> bool:
    """Whether OpenSSL reads the block unchanged: each line at the margin, no unfinished block before it."""
    text = content.replace(b"\r\n", b"\n")
    before, found, _ = (text if text.endswith(b"\n") else text + b"\n").partition(block)
    at_margin = not before or before.endswith(b"\n")
    return bool(found) and at_margin and b"-----BEGIN" not in _WHOLE_BLOCK.sub(b"", before)
