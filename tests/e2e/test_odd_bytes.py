"""Files that are not UTF-8, in name or content, and files that are none: the rest is served, and all of it is said."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrypoint.core.model import KeyType
from entrypoint.demo.pki import certificate_pem, encrypted_pem
from tests.support.front import PASSWORD
from tests.support.pki import cached_key
from tests.support.user import SERVER, User

LATIN = b"gr\xf6\xdfe"
SHOWN = r"gr\xf6\xdfe"
NAME = "shop.acme.io"


@pytest.fixture
def user() -> Iterator[User]:
    with User() as found:
        yield found


def _pair(user: User, name: bytes) -> None:
    """The user's own certificate and key under a name of any bytes."""
    issued = user.authority.issue(NAME, key=cached_key(KeyType.ECDSA, NAME))
    Path(os.fsdecode(os.fsencode(user.etc) + b"/" + name + b".crt")).write_bytes(certificate_pem(*issued.chain[:-1]))
    Path(os.fsdecode(os.fsencode(user.etc) + b"/" + name + b".key")).write_bytes(encrypted_pem(issued.key, PASSWORD))
    user.issued = issued


def _conf(user: User, name: bytes, text: str | bytes) -> Path:
    ports = {"https": user.https_port, "http": user.http_port}
    data = text if isinstance(text, bytes) else text.format(name=NAME, **ports).encode()
    path = Path(os.fsdecode(os.fsencode(user.etc) + b"/conf.d/" + name))
    path.write_bytes(data)
    return path


def test_names_and_contents_in_latin_1(user: User) -> None:
    """A pair, a file and a comment in Latin-1: it is served, renewed at once, and a fault in it is said escaped."""
    _pair(user, LATIN)
    server = SERVER.format(name=NAME, https=user.https_port).encode().replace(b"/ ", b"/")
    server = server.replace(f"{NAME}.crt".encode(), LATIN + b".crt").replace(f"{NAME}.key".encode(), LATIN + b".key")
    path = _conf(user, LATIN + b".conf", b"# " + LATIN + b"\n" + server)
    user.start()
    user.until(lambda: user.serves(user.issued, NAME), "the certificate")
    _pair(user, LATIN)
    user.until(lambda: user.serves(user.issued, NAME), "its renewal")
    path.write_bytes(path.read_bytes() + b"bogus " + LATIN + b";\n")
    user.until(user.commented_out, "the fault")
    (where,) = user.commented_out()
    assert where.startswith(SHOWN + ".conf")
    done = user.command("status")
    assert SHOWN + ".conf" in done.stdout
    assert "bogus" in done.stdout
    assert user.plain()


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_key_that_is_not_there(style: str) -> None:
    """Its path in the status, in the log and from `certfront status` and `refresh` is escaped; all goes on."""
    with User(LOG_FORMAT=style) as user:
        text = SERVER.format(name=NAME, https=user.https_port).encode().replace(f"{NAME}.key".encode(), LATIN + b".key")
        _conf(user, b"shop.conf", text)
        user.start()
        user.until(lambda: user.entry(NAME).get("outcome") == "key-missing", "the outcome")
        assert f"{user.etc}/{SHOWN}.key" in str(user.entry(NAME)["detail"])
        for command in ("status", "refresh"):
            done = user.command(command)
            assert "Traceback" not in done.stderr, done.stderr
        assert SHOWN in user.command("status").stdout
        lines = [line for line in user.log().splitlines() if "key-missing" in line]
        assert lines
        found = json.loads(lines[0])["message"] if style == "json" else lines[0]
        assert SHOWN in found
        assert user.http("/readyz", user.status_port)[2].count(SHOWN) == 1


@pytest.mark.parametrize("kind", ["pipe", "zero", "random"])
@pytest.mark.parametrize("what", ["key", "crt", "password"])
def test_what_is_no_file(user: User, kind: str, what: str) -> None:
    """A pipe or a device in a file's place is refused at once: the others are served, and checks go on."""
    user.site("other.acme.io", own=True)
    user.site(NAME, own=True)
    path = user.etc / {"password": "more_pw.txt"}.get(what, f"{NAME}.{what}")
    path.unlink(missing_ok=True)
    if what == "password":
        _conf(user, NAME.encode() + b".conf", SERVER.replace("return", "ssl_password_file more_pw.txt; return"))
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "zero" else "/dev/urandom")
    user.start()
    user.until(lambda: user.entry("other.acme.io").get("state") == "serving", "the other one")
    assert user.plain()
    user.until(lambda: user.entry(NAME).get("outcome"), "its outcome")
    assert user.entry(NAME)["outcome"] == ("malformed" if what == "crt" else "key-unreadable")
    assert path.name in str(user.entry(NAME)["detail"])
