"""Keys as editors, mails and environment files leave them: what is handed on is what a real NGINX reads."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from entrypoint.core.model import Key, Outcome, Problem, Refused
from entrypoint.core.x509 import key_pem as core
from entrypoint.core.x509.decryption import in_clear
from entrypoint.edges import nginx
from entrypoint.edges.keys import load
from tests.support import rig
from tests.support.pki import ec_key, issue, key_pem, rsa_key

SECRET = b"correct horse battery"
RSA, EC = rsa_key(1), ec_key(1)
KINDS = {
    "plain": key_pem(RSA),
    "plain-traditional": key_pem(EC, traditional=True),
    "encrypted": key_pem(EC, SECRET),
    "encrypted-traditional": key_pem(RSA, SECRET, traditional=True),
}
CONFIGURATION = """daemon off; pid {base}/nginx.pid; error_log stderr; events {{ }}
http {{ access_log off; {temporary}
    server {{ listen 127.0.0.1:18999 ssl; ssl_certificate c.pem; ssl_certificate_key k.pem; ssl_password_file pw; }}
}}
"""
OPENSSL = shutil.which("openssl")
Form = Callable[[bytes], bytes]


def _lines(change: Callable[[bytes], bytes]) -> Form:
    return lambda pem: b"".join(change(line) for line in pem.splitlines())


def _wide(columns: int) -> Form:
    """The base64 in lines of another width."""

    def form(pem: bytes) -> bytes:
        head, _, body = pem.rpartition(b"\n\n") if b"\n\n" in pem else pem.partition(b"\n")
        *text, end = body.splitlines()
        joined = b"".join(text)
        cut = [joined[start : start + columns] for start in range(0, len(joined), columns)]
        return b"\n".join([head, b"", *cut, end, b""] if b"Proc-Type" in head else [head, *cut, end, b""])

    return form


CLEAR: dict[str, Form] = {
    "CR LF": _lines(lambda line: line + b"\r\n"),
    "CR alone": _lines(lambda line: line + b"\r"),
    "spaces behind": _lines(lambda line: line + b"  \n"),
    "indented": _lines(lambda line: b"    " + line + b"\n"),
    "a tab": _lines(lambda line: b"\t" + line + b"\r\n"),
    "YAML": lambda pem: b"key: |\n" + _lines(lambda line: b"  " + line + b"\n")(pem),
    "blank lines between": _lines(lambda line: line + b"\n\n"),
    "one line, \\n as two characters": lambda pem: pem.replace(b"\n", b"\\n"),
    "one line, JSON": lambda pem: b'{"key": "' + pem.replace(b"\n", b"\\r\\n") + b'"}',
    "one line, spaces": lambda pem: pem.replace(b"\n", b" "),
    "one long line of base64": _wide(100_000),
    "76 characters a line": _wide(76),
    "UTF-8 with a mark": lambda pem: b"\xef\xbb\xbf" + pem,
    "UTF-16 LE": lambda pem: b"\xff\xfe" + pem.decode().encode("utf-16-le"),
    "UTF-16 BE": lambda pem: b"\xfe\xff" + pem.decode().encode("utf-16-be"),
    "UTF-16 without a mark": lambda pem: pem.decode().encode("utf-16-le"),
    "text before": lambda pem: b"Bag Attributes\n    friendlyName: x\n" + pem,
    "text on the same line": lambda pem: b"key: " + pem,
    "in quotes": lambda pem: b'"' + pem.rstrip() + b'"\n',
    "no end of the last line": lambda pem: pem.rstrip(),
    "an unfinished block before": lambda pem: b"-----BEGIN CERTIFICATE-----\nAAAA\n" + pem,
    "a whole block before": lambda pem: issue("x.io", None, key=RSA).pem + pem,
}


@pytest.fixture(scope="module")
def accepts(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], None]:
    """Raises where NGINX does not take a key."""
    base = tmp_path_factory.mktemp("nginx")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {base}/{kind};" for kind in kinds)
    (base / "nginx.conf").write_text(CONFIGURATION.format(base=base, temporary=temporary))
    (base / "pw").write_bytes(SECRET + b"\n")

    def accepts(pem: bytes) -> None:
        (base / "k.pem").write_bytes(pem)
        key = EC if load(base / "k.pem", base / "pw").key_type == "ecdsa" else RSA
        (base / "c.pem").write_bytes(issue("www.acme.io", None, key=key).pem)
        nginx.test(rig.NEW, base / "nginx.conf")

    return accepts


def _read(folder: Path, content: bytes) -> Key:
    (folder / "key.pem").write_bytes(content)
    (folder / "pw").write_bytes(SECRET + b"\n")
    return load(folder / "key.pem", folder / "pw")


def _refusal(folder: Path, content: bytes) -> Problem:
    with pytest.raises(Refused) as refused:
        _read(folder, content)
    assert str(folder / "key.pem") in refused.value.problem.detail
    return refused.value.problem


@pytest.mark.parametrize("form", CLEAR.values(), ids=CLEAR)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_clear_is_served(kind: str, form: Form, accepts: Callable[[bytes], None], tmp_path: Path) -> None:
    """The same key, still encrypted as it was, in a form that NGINX, and KEY_UNLOCK=memory, can read."""
    key = _read(tmp_path, form(KINDS[kind]))
    assert key.spki == _read(tmp_path, KINDS[kind]).spki
    assert _der(key.pem) == _der(KINDS[kind])
    assert (key.password is not None) is ("encrypted" in kind)
    accepts(key.pem)
    if key.password:
        assert in_clear(key.pem, [SECRET])


def _der(pem: bytes) -> bytes:
    found = core.find(pem)
    assert found
    return found.der


def _without(*lines: int) -> Form:
    def form(pem: bytes) -> bytes:
        given = pem.splitlines()
        first = given.index(b"") + 1 if b"" in given else 1
        gone = {first + line if line >= 0 else len(given) - 1 + line for line in lines}
        return b"\n".join(line for number, line in enumerate(given) if number not in gone) + b"\n"

    return form


DAMAGED: dict[str, Form] = {
    "the first line missing": _without(0),
    "a line missing": _without(2),
    "two lines missing": _without(1, 2),
    "the last full line missing": _without(-2),
    "the last line missing": _without(-1),
    "a line twice": lambda pem: pem.replace(pem.splitlines()[-4], pem.splitlines()[-4] + b"\n" + pem.splitlines()[-4]),
    "characters missing": lambda pem: pem.replace(pem.splitlines()[-3], pem.splitlines()[-3][:-7]),
    "odd characters": lambda pem: pem.replace(pem.splitlines()[-3], b"#" + pem.splitlines()[-3][1:]),
    "nothing between": lambda pem: re.sub(rb"-----\n.*\n-----", b"-----\n-----", pem, flags=re.DOTALL),
    "a dash short": lambda pem: pem.replace(b"-----BEGIN", b"----BEGIN"),
    "a typographic dash": lambda pem: pem.replace(b"-----BEGIN", "—BEGIN".encode()),
    "cut off": lambda pem: pem[:-40],
}


@pytest.mark.parametrize("form", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("traditional", [False, True], ids=["pkcs8", "traditional"])
@pytest.mark.parametrize("password", [None, SECRET], ids=["plain", "encrypted"])
def test_what_is_damaged_is_no_wrong_password(
    password: bytes | None, traditional: bool, form: Form, tmp_path: Path
) -> None:
    """Whatever is missing, the file is to blame, not the password."""
    problem = _refusal(tmp_path, form(key_pem(RSA, password, traditional=traditional)))
    assert problem.outcome is Outcome.KEY_UNREADABLE
    assert problem.hint


@pytest.mark.skipif(OPENSSL is None, reason="the openssl command is not installed")
@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("-v1 PBE-SHA1-RC2-40", "PBE-SHA1-RC2-40"),
        ("-v1 PBE-SHA1-RC2-128", "PBE-SHA1-RC2-128"),
        ("-v1 PBE-SHA1-RC4-128", "PBE-SHA1-RC4-128"),
        ("-v1 PBE-MD5-DES", "PBE-MD5-DES"),
        ("-v1 PBE-SHA1-DES", "PBE-SHA1-DES"),
        ("-v2 rc2-cbc", "RC2-CBC"),
        ("-v2 des-cbc", "DES-CBC"),
    ],
)
def test_encryption_that_nginx_refuses(command: str, name: str, tmp_path: Path) -> None:
    """Others read it with the right password; NGINX on OpenSSL 3 does not: it is named, with how to convert it."""
    arguments = ["pkcs8", "-topk8", *command.split(), "-provider", "default", "-provider", "legacy"]
    arguments += ["-passout", f"pass:{SECRET.decode()}"]
    done = subprocess.run([str(OPENSSL), *arguments], input=key_pem(RSA), capture_output=True, check=False)
    if done.returncode:
        pytest.skip("this OpenSSL has no legacy provider")
    problem = _refusal(tmp_path, done.stdout)
    assert problem.outcome is Outcome.KEY_UNREADABLE
    assert f"encrypted with {name}," in problem.detail
    assert "-provider legacy" in problem.hint


def test_a_key_of_openssh(tmp_path: Path) -> None:
    """Another format between the same dashes says how it is converted."""
    lines = b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\n"
    assert "ssh-keygen -p -m PKCS8" in _refusal(tmp_path, lines).detail


def _odd_passwords() -> Iterator[tuple[bytes, str]]:
    word = SECRET.decode()
    yield b"\xef\xbb\xbf" + SECRET + b"\n", "byte-order mark"
    yield b"\xff\xfe" + f"{word}\r\n".encode("utf-16-le"), "UTF-16"
    yield b"\xfe\xff" + f"{word}\n".encode("utf-16-be"), "UTF-16"
    yield f"{word}\n".encode("utf-16-le"), "UTF-16"
    yield f'"{word}"\n'.encode(), "quotes"
    yield f"'{word}'\r\n".encode(), "quotes"
    yield f"KEY_PASSWORD={word}\n".encode(), "NAME=PASSWORD"
    yield f"export KEY_PASSWORD='{word}'\n".encode(), "NAME=PASSWORD"
    yield f"password: {word}\n".encode(), "NAME=PASSWORD"
    yield f"{word} \n".encode(), "space"
    yield f" {word}\n".encode(), "space"
    yield f"{word}\rother\r".encode(), "CR alone"
    yield key_pem(RSA), "is it the key file"


@pytest.mark.parametrize(("content", "told"), list(_odd_passwords()), ids=range(13))
def test_passwords_with_something_around_them(content: bytes, told: str, tmp_path: Path) -> None:
    """What the file holds besides the password is recognised and said, and nothing of the password is."""
    (tmp_path / "key.pem").write_bytes(KINDS["encrypted"])
    (tmp_path / "pw").write_bytes(content)
    with pytest.raises(Refused) as refused:
        load(tmp_path / "key.pem", tmp_path / "pw")
    problem = refused.value.problem
    assert problem.outcome is Outcome.WRONG_PASSWORD
    assert f"{tmp_path}/pw: " in problem.hint
    assert told in problem.hint
    assert "correct" not in problem.hint + problem.detail


def test_odd_passwords_that_open(tmp_path: Path) -> None:
    """Quotes, spaces and signs that are part of a password are no oddity."""
    for password in (b'"quoted"', b" spaced ", b"NAME=value", b"a: b"):
        (tmp_path / "key.pem").write_bytes(key_pem(EC, password))
        (tmp_path / "pw").write_bytes(password + b"\n")
        assert load(tmp_path / "key.pem", tmp_path / "pw").password == password
