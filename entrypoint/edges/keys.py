"""Private keys and their passwords, read from files that belong to the administrator.

Nothing is ever written, and no exception, ``repr`` or log holds a password or a key: what leaves this
module is a `Key` with the file's content as it is, still encrypted if it was. The library for keys is
imported when the first key is read: the agent starts without waiting for it.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from entrypoint.core.model import Key, KeyType, Outcome, Refused
from entrypoint.core.pem import PRIVATE_KEY, is_encrypted, split_passwords

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

_LARGEST_FILE = 1024 * 1024  # bytes
_LONGEST_PASSWORD = 4095  # bytes, as NGINX's ssl_password_file has it
_EXPORT = "export the key from the TLS Credentials document as an encrypted PEM file"
_SUPPORTED = "RSA and ECDSA keys are supported, in PEM, encrypted with AES or 3DES"


def load(path: Path, password_file: Path) -> Key:
    """Return the first private key in ``path``, opened by the first password that fits.

    Raises Refused: key-missing; key-unreadable for a file that holds no RSA or ECDSA key in PEM, or
    cannot be read; wrong-password where it is encrypted and no password opens it.
    """
    pem = _read_key_file(path)
    block = _private_key_block(path, pem)
    if is_encrypted(pem):
        private, password = _unlock(path, block, password_file)
    else:
        private, password = _open(path, block), None
    key_type, spki = _public_half(path, private)
    return Key(key_type, spki, pem, password)


def read_passwords(path: Path) -> tuple[bytes, ...]:
    """Return the passwords in ``path``, one a line, as NGINX reads ssl_password_file.

    Only the line's end is cut off (LF or CR LF): spaces are part of a password. Empty lines are
    skipped; a file that does not exist holds none. Raises Refused (key-unreadable) otherwise.
    """
    try:
        content = _read(path, "the password file")
    except (FileNotFoundError, NotADirectoryError):
        return ()
    passwords = split_passwords(content)
    if any(len(password) > _LONGEST_PASSWORD for password in passwords):
        detail = f"the password file {path} has a line of more than {_LONGEST_PASSWORD} bytes"
        raise Refused(Outcome.KEY_UNREADABLE, detail, "NGINX takes no longer ones: one password a line")
    return passwords


def warn_about_mode(path: Path) -> str | None:
    """Return a sentence if others than the owner may read or write the file, None if not or if it is missing.

    Where this process is neither root nor the owner, it reads by its group: then the group may read.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    mode, by_group = status.st_mode, os.geteuid() not in (0, status.st_uid)
    if not mode & (0o037 if by_group else 0o077):
        return None
    return f"{path} has mode {mode & 0o7777:04o}: group or others have access to it; chmod 400 keeps them out"


# Files


def _read_key_file(path: Path) -> bytes:
    try:
        pem = _read(path, "the key file")
    except (FileNotFoundError, NotADirectoryError):
        detail = f"there is no key file {path}"
        hint = f"{_EXPORT}, and mount it there; KEY_FILE, or ssl_certificate_key in a server of yours, says where"
        raise Refused(Outcome.KEY_MISSING, detail, hint) from None
    if not pem.strip():
        raise Refused(Outcome.KEY_UNREADABLE, f"the key file {path} is empty", _EXPORT)
    return pem


def _read(path: Path, what: str) -> bytes:
    """Return the file's content; FileNotFoundError and NotADirectoryError pass, all else is Refused."""
    try:
        # Not to wait for the other end, should it be a named pipe.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            _must_be_file(path, what, os.fstat(file.fileno()))
            content = file.read(_LARGEST_FILE + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except IsADirectoryError:
        raise _directory(path, what) from None
    except PermissionError:
        detail = f"{what} {path} may not be read: {_owner(path)}, this process runs as uid {os.geteuid()}"
        raise Refused(Outcome.KEY_UNREADABLE, detail, "give it to that user: chown, and chmod 400") from None
    except OSError as error:
        detail = f"{what} {path} cannot be read: {error.strerror}"
        raise Refused(Outcome.KEY_UNREADABLE, detail) from None
    if len(content) > _LARGEST_FILE:
        detail = f"{what} {path} is larger than {_LARGEST_FILE} bytes"
        raise Refused(Outcome.KEY_UNREADABLE, detail, "is it the right file?")
    return content


def _must_be_file(path: Path, what: str, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise _directory(path, what)
    if not stat.S_ISREG(status.st_mode):
        raise Refused(Outcome.KEY_UNREADABLE, f"{what} {path} is no regular file", "put the content into a file")


def _directory(path: Path, what: str) -> Refused:
    hint = "container engines make a folder where the file to mount does not exist on the host: put it there"
    return Refused(Outcome.KEY_UNREADABLE, f"{what} {path} is a directory", hint)


def _owner(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "a folder above it is closed"
    return f"it belongs to uid {status.st_uid}, gid {status.st_gid}, with mode {status.st_mode & 0o7777:04o}"


# Keys


def _private_key_block(path: Path, pem: bytes) -> bytes:
    """Return the first private key's PEM block alone; OpenSSL, and so NGINX, skips what is before it, too."""
    block = PRIVATE_KEY.search(pem)
    if block is not None:
        return block[0]
    if b"PRIVATE KEY-----" in pem:
        found, hint = "a private key that is cut off", "copy the whole file, from BEGIN to END"
    elif b"-----BEGIN CERTIFICATE-----" in pem:
        found, hint = "certificates but no private key", f"certificate and key are different files: {_EXPORT}"
    elif b"-----BEGIN " in pem:
        found, hint = "no private key", _EXPORT
    elif pem[:1] == b"\x30":
        found, hint = (
            "DER or PKCS#12, not PEM",
            "openssl pkcs12 -in FILE -nocerts, or openssl pkey -inform DER",
        )
    else:
        found, hint = "something that is not PEM", _EXPORT
    raise Refused(Outcome.KEY_UNREADABLE, f"the key file {path} holds {found}", hint)


def _open(path: Path, block: bytes) -> PrivateKeyTypes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(block, None)
    except UnsupportedAlgorithm as error:
        raise _unsupported(path, str(error)) from None
    except (ValueError, TypeError):  # their texts are about ASN.1, and help nobody
        detail = f"the private key in {path} is damaged, or of a kind that is not supported"
        raise Refused(Outcome.KEY_UNREADABLE, detail, f"{_SUPPORTED}; {_EXPORT}") from None


def _unlock(path: Path, block: bytes, password_file: Path) -> tuple[PrivateKeyTypes, bytes]:
    """Return the key and the password that opened it; raises Refused."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    passwords = read_passwords(password_file)
    for password in passwords:
        try:
            return load_pem_private_key(block, password), password
        except UnsupportedAlgorithm as error:
            raise _unsupported(path, str(error)) from None
        except (ValueError, TypeError) as error:
            # The wrong password gives noise, and noise may break in any way: only the cipher's name,
            # which is not encrypted, says something else.
            if "unknown" in str(error).lower():
                raise _unsupported(path, _cipher(block) or str(error)) from None
    raise _locked(path, password_file, len(passwords))


def _locked(path: Path, password_file: Path, tried: int) -> Refused:
    named = "KEY_PASSWORD_FILE, or ssl_password_file in a server of yours"
    hint = f"write the export's password into {password_file} ({named}), one a line"
    if tried:
        some = "the password" if tried == 1 else f"none of the {tried} passwords"
        detail = f"the key file {path} is encrypted, and {some} in {password_file} does {'not ' * (tried == 1)}open it"
        return Refused(Outcome.WRONG_PASSWORD, detail, f"{hint}; mind stray spaces")
    state = "holds no password" if os.path.exists(password_file) else "does not exist"  # noqa: PTH110
    detail = f"the key file {path} is encrypted, and the password file {password_file} {state}"
    return Refused(Outcome.WRONG_PASSWORD, detail, hint)


def _cipher(block: bytes) -> str:
    """Return the cipher that a traditional key's header names (RFC 1421, section 4.6.1.3), or ""."""
    header = re.search(rb"DEK-Info: ([A-Za-z0-9-]{1,40})", block)
    return header[1].decode("ascii") if header else ""


def _unsupported(path: Path, algorithm: str) -> Refused:
    detail = f"the private key in {path} uses something that is not supported: {algorithm}"
    hint = f"{_SUPPORTED}; openssl pkcs8 -topk8 -v2 aes-256-cbc converts the encryption"
    return Refused(Outcome.KEY_UNREADABLE, detail, hint)


def _public_half(path: Path, private: PrivateKeyTypes) -> tuple[KeyType, bytes]:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if isinstance(private, rsa.RSAPrivateKey):
        key_type = KeyType.RSA
    elif isinstance(private, ec.EllipticCurvePrivateKey):
        key_type = KeyType.ECDSA
    else:
        kind = type(private).__name__.removesuffix("PrivateKey")
        raise Refused(Outcome.KEY_UNREADABLE, f"the key in {path} is of type {kind}", _SUPPORTED)
    return key_type, private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
