"""KEY_UNLOCK=memory: keys are decrypted once into a tmpfs, and nowhere else."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrypoint.demo.pki import encrypted_pem
from entrypoint.demo.stage import NAME, fingerprint
from tests.support.front import Front, holding

pytestmark = pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="this machine has no tmpfs at /dev/shm")


@pytest.fixture
def run_dir() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="certfront-", dir="/dev/shm"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def front(run_dir: Path) -> Iterator[Front]:
    with Front({"KEY_UNLOCK": "memory", "CERTFRONT_RUN_DIR": str(run_dir)}) as front:
        front.put(front.issued)
        front.start()
        front.until(lambda: front.served() == fingerprint(front.issued), "TLS")
        yield front


def _plain_keys(folder: Path) -> list[str]:
    """Files below a folder that hold a private key which is not encrypted."""
    found = holding(folder, b"BEGIN PRIVATE KEY")
    return [str(path.relative_to(folder)) for path in found if not path.is_symlink()]


def test_keys_are_decrypted_in_memory_only(front: Front, run_dir: Path) -> None:
    """NGINX reads the decrypted key, without a password; the state holds the key as it was given; the end clears up."""
    (key,) = _plain_keys(run_dir)
    assert key.startswith("keys/")
    assert (run_dir / key).stat().st_mode & 0o777 == 0o600
    assert (run_dir / "keys").stat().st_mode & 0o777 == 0o700
    assert _plain_keys(front.folder) == []
    assert "ssl_password_file" not in (front.current / "site.conf").read_text()
    assert str(run_dir / key) in (front.current / "site.conf").read_text()
    front.tested()
    assert front.stop() == 0
    assert _plain_keys(run_dir) == []


def test_a_crash_and_a_restart_without_certmgr(front: Front, run_dir: Path) -> None:
    """With an empty tmpfs, as after a reboot, the keys are decrypted again, and TLS is back at once."""
    front.certmgr.stop()
    front.kill()
    shutil.rmtree(run_dir / "keys")
    front.start()
    front.until(lambda: front.served() == fingerprint(front.issued), "TLS")


def test_a_new_key_with_a_new_password(front: Front, run_dir: Path) -> None:
    """The new one is decrypted, the old one is forgotten; a wrong password before that takes nothing down."""
    old = fingerprint(front.issued)
    front.secret("ssl_pw.txt", b"another one\n")
    front.until(front.outcome("wrong-password"), "the outcome")
    assert front.served() == old
    new = front.authority.issue(NAME)
    front.put(new)
    front.secret("key.pem", encrypted_pem(new.key, b"another one"))
    front.until(lambda: front.served() == fingerprint(new), "the new pair")
    front.until(lambda: len(_plain_keys(run_dir)) == 1, "the end of the old key")


def test_no_tmpfs() -> None:
    """A run folder on a disk is refused at the start, with what to do."""
    with Front({"KEY_UNLOCK": "memory"}) as front:
        front.start()
        assert front.ended() == 1
        assert "KEY_UNLOCK=memory: " in front.log()
        assert "is no tmpfs" in front.log()
        assert "--tmpfs" in front.log()
