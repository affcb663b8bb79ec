"""A new key with a new password, and a restart while CertMgr is away: the old pair goes on, or the way out is said."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrypoint.core.model import KeyType
from entrypoint.demo.pki import encrypted_pem
from entrypoint.demo.stage import NAME, fingerprint
from tests.support.front import PASSWORD, Front
from tests.support.pki import cached_key
from tests.support.user import User

NEW = b"the password of the new key"


@pytest.fixture(params=["nginx", "memory"])
def front(request: pytest.FixtureRequest) -> Iterator[Front]:
    """One that serves, with each way to open keys."""
    if request.param == "nginx":
        with Front({"CERTMGR_CHECK_INTERVAL": "300"}) as front:
            yield front.serve()
        return
    if not Path("/dev/shm").is_dir():
        pytest.skip("this machine has no tmpfs at /dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="certfront-", dir="/dev/shm"))
    folder.chmod(0o755)
    variables = {"KEY_UNLOCK": "memory", "CERTFRONT_RUN_DIR": str(folder), "CERTMGR_CHECK_INTERVAL": "300"}
    with Front(variables) as front:
        front.put(front.issued)
        front.start()
        front.until(lambda: front.served() == fingerprint(front.issued), "TLS")
        yield front
    shutil.rmtree(folder)


def _stopped(front: Front) -> None:
    """Stopped for a while in which CertMgr goes away; a stop takes all passwords along."""
    assert front.stop() == 0
    front.certmgr.stop()


def _exchanged(front: Front, passwords: bytes = NEW) -> None:
    front.secret("key.pem", encrypted_pem(front.authority.issue(NAME).key, NEW))
    front.secret("ssl_pw.txt", passwords + b"\n")


def test_nothing_opens_the_old_key(front: Front) -> None:
    """It is said in plain words what is missing; with the old password back, the old pair is, without a restart."""
    _stopped(front)
    before = len(front.log())
    _exchanged(front)
    front.start()
    front.until(front.outcome("wrong-password"), "the outcome")
    status = front.status()
    assert "belongs to the key that " in status["detail"]
    assert "ssl_pw.txt any more" in status["detail"]
    assert "unreachable" in status["detail"]
    assert "as a second line" in status["hint"]
    assert front.http()[0] == 503
    log = front.log()[before:]
    assert "as a second line" in log
    assert not [word for word in ("SSL:", "error:", "PEM_read", "BIO_new", "certs/") if word in log], log
    front.tested()
    front.secret("ssl_pw.txt", NEW + b"\n" + PASSWORD + b"\n")
    front.until(lambda: front.served() == fingerprint(front.issued), "the old pair")
    front.until(front.outcome("unreachable"), "the outcome")


def test_both_passwords(front: Front) -> None:
    """The old pair is served at once, as its password is the second line."""
    _stopped(front)
    _exchanged(front, NEW + b"\n" + PASSWORD)
    front.start()
    front.until(lambda: front.served() == fingerprint(front.issued), "the old pair")
    front.until(front.outcome("unreachable"), "the outcome")


def test_killed(front: Front) -> None:
    """Killed, not stopped: what NGINX read is still in the run folder, and opens the old key."""
    _exchanged(front)
    front.until(front.outcome("key-mismatch"), "the outcome")
    front.certmgr.stop()
    front.kill()
    front.start()
    front.until(lambda: front.served() == fingerprint(front.issued), "the old pair")


def test_the_same_key_encrypted_anew(front: Front) -> None:
    """The certificate fits the key as it is now: TLS is there at once."""
    _stopped(front)
    front.secret("key.pem", encrypted_pem(front.issued.key, NEW))
    front.secret("ssl_pw.txt", NEW + b"\n")
    front.start()
    front.until(lambda: front.served() == fingerprint(front.issued), "TLS")


def test_a_wrong_password(front: Front) -> None:
    """With the same key, the file with the password is to blame, in plain words."""
    _stopped(front)
    before = len(front.log())
    front.secret("ssl_pw.txt", b"not this one\n")
    front.start()
    front.until(front.outcome("wrong-password"), "the outcome")
    assert "PEM_read" not in front.log()[before:]
    front.secret("ssl_pw.txt", PASSWORD + b"\n")
    front.until(lambda: front.served() == fingerprint(front.issued), "TLS")


def test_a_server_of_the_users() -> None:
    """Only the server of the exchanged key waits, with the reason; its neighbour is served."""
    with User() as user:
        one, two = user.site("one.acme.io"), user.site("two.acme.io")
        user.give(one, "one.acme.io")
        user.give(two, "two.acme.io")
        (user.etc / "two_pw.txt").write_bytes(PASSWORD + b"\n")
        (user.etc / "ssl_pw.txt").write_bytes(b"the first one's\n")
        (user.etc / "one.acme.io.key").write_bytes(encrypted_pem(one.key, b"the first one's"))
        path = user.etc / "conf.d" / "two.acme.io.conf"
        path.write_text(path.read_text().replace("return", "ssl_password_file two_pw.txt; return"))
        user.start()
        user.until(lambda: user.serves(one, "one.acme.io") and user.serves(two, "two.acme.io"), "both")
        _stopped(user)
        before = len(user.log())
        other = cached_key(KeyType.ECDSA, "another key of two's")
        (user.etc / "two.acme.io.key").write_bytes(encrypted_pem(other, NEW))
        (user.etc / "two_pw.txt").write_bytes(NEW + b"\n")
        user.start()
        user.until(lambda: user.serves(one, "one.acme.io"), "the neighbour")
        user.until(lambda: len(user.report()["configuration"]["commented_out"]) == 1, "the other one in the status")
        (out,) = user.report()["configuration"]["commented_out"]
        assert out["where"] == f"{path}:1"
        assert "belongs to the key that " in out["reason"]
        assert not user.serves(two, "two.acme.io")
        assert "PEM_read" not in user.log()[before:]
        (user.etc / "two_pw.txt").write_bytes(NEW + b"\n" + PASSWORD + b"\n")
        user.until(lambda: user.serves(two, "two.acme.io"), "the other one")
