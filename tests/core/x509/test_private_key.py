"""A private key's file, its password file, and what is said where they do not open: without any file."""

from __future__ import annotations

from pathlib import Path

import pytest

from entrypoint.core.model import KeyType, Outcome, Problem, Refused
from entrypoint.core.x509 import private_key
from tests.support.pki import ec_key, key_pem

KEY, PASSWORDS = Path("/k.pem"), Path("/pw.txt")
SECRET = b"correct horse battery"
ENCRYPTED = key_pem(ec_key(1), SECRET)


def _refusal(content: bytes | None, passwords: bytes | None = SECRET) -> Problem:
    with pytest.raises(Refused) as refused:
        private_key.opened(KEY, private_key.find(KEY, content), PASSWORDS, passwords)
    return refused.value.problem


def test_opened() -> None:
    """The first password that fits opens it; the key stays as it was given."""
    key = private_key.opened(KEY, private_key.find(KEY, ENCRYPTED), PASSWORDS, b"other\n" + SECRET + b"\r\n")
    assert (key.key_type, key.pem, key.password) == (KeyType.ECDSA, ENCRYPTED, SECRET)


@pytest.mark.parametrize(
    ("content", "passwords", "outcome", "said"),
    [
        (None, SECRET, Outcome.KEY_MISSING, "there is no key file /k.pem"),
        (b" \n", SECRET, Outcome.KEY_UNREADABLE, "is empty"),
        (b"-----BEGIN CERTIFICATE-----\n", SECRET, Outcome.KEY_UNREADABLE, "certificates but no private key"),
        (ENCRYPTED[:100], SECRET, Outcome.KEY_UNREADABLE, "cut off"),
        (ENCRYPTED, None, Outcome.WRONG_PASSWORD, "the password file /pw.txt does not exist"),
        (ENCRYPTED, b"\n", Outcome.WRONG_PASSWORD, "the password file /pw.txt holds no password"),
        (ENCRYPTED, b"other", Outcome.WRONG_PASSWORD, "the password in /pw.txt does not open it"),
        (ENCRYPTED, b"one\ntwo", Outcome.WRONG_PASSWORD, "none of the 2 passwords in /pw.txt does open it"),
        (ENCRYPTED, b"x" * 4096, Outcome.KEY_UNREADABLE, "more than 4095 bytes"),
    ],
    ids=["missing", "empty", "certificates", "cut off", "no file", "no password", "another", "two others", "too long"],
)
def test_refused(content: bytes | None, passwords: bytes | None, outcome: Outcome, said: str) -> None:
    """Each half that is missing or does not fit is said with its file, and no secret."""
    problem = _refusal(content, passwords)
    assert problem.outcome is outcome
    assert said in problem.detail
    assert SECRET.decode() not in repr(problem)
