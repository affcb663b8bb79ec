"""The local half of the pair: every form that it comes in, every way in which it is wrong, and its repair."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from entrypoint.core.model import KeyType
from entrypoint.demo.pki import encrypted_pem
from entrypoint.demo.stage import NAME, fingerprint
from tests.support.front import PASSWORD, Front
from tests.support.pki import key_pem

RIGHT_LAST = b"first wrong one\n\nsecond, with spaces \n" + PASSWORD + b"\n"


@pytest.mark.parametrize("passwords", [PASSWORD + b"\n", RIGHT_LAST], ids=["one", "several"])
@pytest.mark.parametrize("traditional", [False, True], ids=["pkcs8", "traditional"])
@pytest.mark.parametrize("key_type", list(KeyType))
def test_encrypted_keys(key_type: KeyType, traditional: bool, passwords: bytes) -> None:
    """RSA and ECDSA, PKCS #8 and traditional, with the right password alone or as the last of several."""
    with Front(key_type=key_type) as front:
        front.secret("key.pem", key_pem(front.issued.key, PASSWORD, traditional=traditional))
        front.secret("ssl_pw.txt", passwords)
        front.serve()
        assert front.status()["key_type"] == key_type
        front.tested()


@pytest.mark.parametrize("key_type", list(KeyType))
def test_plain_keys(key_type: KeyType) -> None:
    """A key without encryption needs no password file."""
    with Front(key_type=key_type, password=None) as front:
        front.serve()
        front.tested()


def _wrong_password(front: Front) -> None:
    front.secret("ssl_pw.txt", b"not this one\n")


def _no_password(front: Front) -> None:
    (front.folder / "ssl_pw.txt").unlink()


def _missing_key(front: Front) -> None:
    (front.folder / "key.pem").unlink()


def _garbage_key(front: Front) -> None:
    front.secret("key.pem", b"\x00\x01 this is no key\n")


def _cut_off(front: Front) -> None:
    front.secret("key.pem", encrypted_pem(front.issued.key, PASSWORD)[:200])


def _repaired(front: Front) -> None:
    front.secret("key.pem", encrypted_pem(front.issued.key, PASSWORD))
    front.secret("ssl_pw.txt", PASSWORD + b"\n")


@pytest.mark.parametrize(
    ("break_it", "outcome", "hint"),
    [
        (_wrong_password, "wrong-password", "ssl_pw.txt"),
        (_no_password, "wrong-password", "ssl_pw.txt"),
        (_missing_key, "key-missing", "export the key"),
        (_garbage_key, "key-unreadable", "export the key"),
        (_cut_off, "key-unreadable", "copy the whole file"),
    ],
)
def test_a_wrong_half_is_named_and_can_be_repaired(break_it: Callable[[Front], None], outcome: str, hint: str) -> None:
    """HTTP runs meanwhile; TLS comes after the repair of the file, without a restart, long before the next check."""
    with Front({"CERTMGR_CHECK_INTERVAL": "300"}) as front:
        break_it(front)
        front.put(front.issued)
        front.start()
        front.until(front.outcome(outcome), outcome)
        assert hint in front.status()["hint"]
        assert front.status()["state"] == "pending"
        assert front.http()[0] == 503
        assert front.served() == ""
        front.tested()
        process = front.process
        _repaired(front)
        front.until_served(front.issued)
        assert front.process is process
        front.tested()


@pytest.fixture(scope="module")
def running() -> Iterator[Front]:
    with Front() as front:
        yield front.serve()


@pytest.fixture
def front(running: Front) -> Iterator[Front]:
    running.until(running.outcome("unchanged"))
    yield running
    _repaired(running)
    running.repair()
    running.until_served(running.issued)


@pytest.mark.xdist_group("e2e-keys")
class TestWhileServing:
    def test_a_wrong_password_file(self, front: Front) -> None:
        """It is said, the pair is served on, also by a new NGINX after the old one was killed."""
        good = fingerprint(front.issued)
        with front.visited() as seen:
            _wrong_password(front)
            front.until(front.outcome("wrong-password"))
        assert seen == {good}
        front.tested()
        master = front.master()
        master.kill()
        front.until(lambda: not master.is_running(), "the end of the old master")
        front.until(lambda: front.served() == good and front.answers(front.generation()), "TLS")
        assert front.master() != master
        assert front.status()["outcome"] == "wrong-password"
        _repaired(front)
        front.until(front.outcome("unchanged"), "the repair")

    def test_the_key_file_goes(self, front: Front) -> None:
        """It is said, the pair is served on, also over a renewal, which has to wait."""
        before, good = front.footprint(), fingerprint(front.issued)
        _missing_key(front)
        front.until(front.outcome("key-missing"))
        front.renew()
        front.check()
        assert front.served() == good
        assert front.footprint() == before
        _repaired(front)
        front.until_served(front.issued)

    def test_a_new_key_before_its_certificate(self, front: Front) -> None:
        """The old pair is served until CertMgr has the certificate for the new key; then both change at once."""
        before, old = front.footprint(), fingerprint(front.issued)
        rolled = front.authority.issue(NAME)
        with front.visited() as seen:
            front.secret("key.pem", encrypted_pem(rolled.key, PASSWORD))
            front.until(front.outcome("key-mismatch"))
            assert front.footprint() == before
            front.tested()
            front.issued = rolled
            front.put(rolled)
            front.until_served(rolled)
        assert seen == {old, fingerprint(rolled)}
        front.until(front.outcome("unchanged"))
        front.tested()

    def test_a_new_key_is_not_lost_over_a_restart(self, front: Front) -> None:
        """Killed while the key file is ahead of CertMgr, which is away: the old pair is served again."""
        old = front.issued
        front.secret("key.pem", encrypted_pem(front.authority.issue(NAME).key, PASSWORD))
        front.until(front.outcome("key-mismatch"))
        front.certmgr.stop()
        front.kill()
        front.start()
        front.until_served(old)
        front.tested()

    @pytest.mark.parametrize("run_folder", ["kept", "lost"])
    def test_the_same_key_with_another_password(self, front: Front, run_folder: str) -> None:
        """Encrypted anew: served on, and nothing breaks over a restart without CertMgr, be the run folder new."""
        good = fingerprint(front.issued)
        other = b"another password, " + run_folder.encode()
        with front.visited() as seen:
            front.secret("ssl_pw.txt", other + b"\n")
            front.secret("key.pem", encrypted_pem(front.issued.key, other))
            front.until(lambda: _opened_by(front, other), "a generation with the key as it is now")
            front.until(lambda: front.check()["outcome"] == "unchanged")
        assert seen == {good}
        front.tested()
        front.certmgr.stop()
        front.kill()
        if run_folder == "lost":
            shutil.rmtree(front.folder / "run")
        front.start()
        front.until(lambda: front.served() == good, "TLS")
        front.until(front.outcome("unreachable"))
        assert front.status()["fingerprint_sha256"] == good
        front.tested()


def _opened_by(front: Front, password: bytes) -> bool:
    """Whether the key in the current generation is."""
    manifest = json.loads((front.current / "manifest.json").read_text())
    try:
        load_pem_private_key((front.current / manifest["pairs"]["site-1"]["key_file"]).read_bytes(), password)
    except ValueError:
        return False
    return True


def test_an_encrypted_key_becomes_a_plain_one() -> None:
    """The certificate is served throughout."""
    with Front() as front:
        front.serve()
        before = front.generation()
        with front.visited() as seen:
            front.secret("key.pem", key_pem(front.issued.key))
            front.until(lambda: front.generation() > before, "a generation with it")
            front.until(front.outcome("unchanged"))
            front.tested()
        assert seen == {fingerprint(front.issued)}
