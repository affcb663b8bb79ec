"""A private key and its passwords as NGINX reads them from files: opened, or refused with what to do.

No exception, ``repr`` or log holds a password or a key: the result is a `Key` in PEM, still encrypted if it was. The
library for keys is imported when the first key is read: the agent starts without waiting for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrypoint.core.model import Key, KeyType, Outcome, Refused
from entrypoint.core.x509 import key_pem, traditional
from entrypoint.core.x509.key_pem import KeyBlock
from entrypoint.core.x509.password_lines import oddities
from entrypoint.core.x509.pem import split_passwords

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

_LONGEST_PASSWORD = 4095  # bytes, as NGINX's ssl_password_file has it
_EXPORT = "export the key from the TLS Credentials document as an encrypted PEM file"
_SUPPORTED = "RSA and ECDSA keys are supported, in PEM, encrypted with AES or 3DES"
_CONVERT = "openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW converts the encryption"
_LEGACY = "openssl pkcs8 -topk8 -v2 aes-256-cbc -provider default -provider legacy -in OLD -out NEW converts it"


def find(path: Path, content: bytes | None) -> KeyBlock:
    """The first private key in a file; None stands for a missing file. Like OpenSSL, text before the key is skipped.

    Raises Refused: key-missing; key-unreadable for a file that holds no key in PEM, or none that NGINX reads.
    """
    if content is None:
        detail = f"there is no key file {path}"
        hint = f"{_EXPORT}, and mount it there; KEY_FILE, or ssl_certificate_key in a server of yours, says where"
        raise Refused(Outcome.KEY_MISSING, detail, hint)
    if not content.strip():
        raise Refused(Outcome.KEY_UNREADABLE, f"the key file {path} is empty", _EXPORT)
    try:
        block = key_pem.find(content)
    except key_pem.Damaged as error:
        hint = f"copy the whole file again, from BEGIN to END, or {_EXPORT}"
        raise Refused(Outcome.KEY_UNREADABLE, f"the private key in {path} is damaged: it {error}", hint) from None
    if block is None:
        found, hint = _instead(content)
        raise Refused(Outcome.KEY_UNREADABLE, f"the key file {path} holds {found}", hint)
    if block.legacy:
        detail = f"the private key in {path} is encrypted with {block.legacy}, which OpenSSL 3, and so NGINX, refuses"
        raise Refused(Outcome.KEY_UNREADABLE, detail, _LEGACY)
    return block


def _instead(content: bytes) -> tuple[str, str]:
    """The problem of a file without a private key: what it holds instead, and what to do."""
    if b"PRIVATE KEY-----" in content:
        if key_pem.BEGIN.search(content):
            return "a private key that is cut off", "copy the whole file, from BEGIN to END"
        return "a private key whose first line is not -----BEGIN ... PRIVATE KEY-----", f"mend that line, or {_EXPORT}"
    if b"-----BEGIN CERTIFICATE-----" in content:
        return "certificates but no private key", f"certificate and key are different files: {_EXPORT}"
    if b"-----BEGIN " in content:
        return "no private key", _EXPORT
    if content[:1] == b"\x30":
        return "DER or PKCS#12, not PEM", "openssl pkcs12 -in FILE -nocerts, or openssl pkey -inform DER"
    return "something that is not PEM", _EXPORT


def opened(path: Path, block: KeyBlock, password_file: Path, content: bytes | None) -> Key:
    """The key in ``path``, opened by the first fitting password in the password file's content; None: it is missing.

    Raises Refused: key-unreadable for a key that is not RSA, ECDSA or EdDSA, and for a damaged one; wrong-password
    where it is encrypted and no password opens it.
    """
    if block.encrypted:
        private, password = _unlock(path, block, password_file, content)
    else:
        private, password = _open(path, block), None
    key_type, spki = _public_half(path, private)
    return Key(key_type, spki, block.pem, password)


def passwords(path: Path, content: bytes | None) -> tuple[bytes, ...]:
    """The passwords in a password file, one a line, as NGINX reads ssl_password_file.

    Only the line end is removed (LF or CR LF): spaces are part of a password. Empty lines are skipped; a missing file
    holds none. Raises Refused (key-unreadable) for a line that NGINX refuses.
    """
    found = split_passwords(content or b"")
    if any(len(password) > _LONGEST_PASSWORD for password in found):
        detail = f"the password file {path} has a line of more than {_LONGEST_PASSWORD} bytes"
        raise Refused(Outcome.KEY_UNREADABLE, detail, "NGINX takes no longer ones: one password a line")
    return found


def _open(path: Path, block: KeyBlock) -> PrivateKeyTypes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(block.block, None)
    except UnsupportedAlgorithm as error:
        raise _unsupported(path, str(error)) from None
    except (ValueError, TypeError):  # their texts are about ASN.1, and help nobody
        detail = f"the private key in {path} is damaged, or of a kind that is not supported"
        raise Refused(Outcome.KEY_UNREADABLE, detail, f"{_SUPPORTED}; {_EXPORT}") from None


def _unlock(path: Path, block: KeyBlock, password_file: Path, content: bytes | None) -> tuple[PrivateKeyTypes, bytes]:
    """The key and the password that opened it; raises Refused."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    offered = passwords(password_file, content)
    for password in offered:
        try:
            return load_pem_private_key(block.block, password), password
        except UnsupportedAlgorithm as error:
            raise _unsupported(path, str(error)) from None
        except (ValueError, TypeError) as error:
            # The wrong password gives noise, and noise may break in any way: only the cipher's name,
            # which is not encrypted, says something else.
            if "unknown" in str(error).lower():
                raise _unsupported(path, block.cipher or str(error)) from None
            if traditional.is_right(block, password):
                detail = f"the private key in {path} is damaged, though the password is right: is a line missing?"
                hint = f"copy the whole file again, from BEGIN to END, or {_EXPORT}"
                raise Refused(Outcome.KEY_UNREADABLE, detail, hint) from None
    raise _locked(path, password_file, content, len(offered))


def _locked(path: Path, password_file: Path, content: bytes | None, tried: int) -> Refused:
    named = "KEY_PASSWORD_FILE, or ssl_password_file in a server of yours"
    hint = f"write the export's password into {password_file} ({named}), one a line"
    if tried:
        some = "the password" if tried == 1 else f"none of the {tried} passwords"
        detail = f"the key file {path} is encrypted, and {some} in {password_file} does {'not ' * (tried == 1)}open it"
        odd = [f"{password_file}: {oddity}" for oddity in oddities(content or b"")]
        return Refused(Outcome.WRONG_PASSWORD, detail, "; ".join([*odd, hint]))
    state = "does not exist" if content is None else "holds no password"
    detail = f"the key file {path} is encrypted, and the password file {password_file} {state}"
    return Refused(Outcome.WRONG_PASSWORD, detail, hint)


def _unsupported(path: Path, algorithm: str) -> Refused:
    detail = f"the private key in {path} uses something that is not supported: {algorithm}"
    hint = f"{_SUPPORTED}; {_CONVERT}"
    return Refused(Outcome.KEY_UNREADABLE, detail, hint)


def _public_half(path: Path, private: PrivateKeyTypes) -> tuple[KeyType | None, bytes]:
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key_type: KeyType | None
    if isinstance(private, rsa.RSAPrivateKey):
        key_type = KeyType.RSA
    elif isinstance(private, ec.EllipticCurvePrivateKey):
        key_type = KeyType.ECDSA
    elif isinstance(private, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
        key_type = None  # NGINX takes it; CertMgr has no such keys
    else:
        kind = type(private).__name__.removesuffix("PrivateKey")
        raise Refused(Outcome.KEY_UNREADABLE, f"the key in {path} is of type {kind}", _SUPPORTED)
    return key_type, private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
