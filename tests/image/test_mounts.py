"""How the key comes into the container, and how a new one does: a folder, single files, Kubernetes' layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from entrypoint.core.model import KeyType
from entrypoint.demo.pki import encrypted_pem
from entrypoint.demo.stage import NAME, fingerprint
from tests.support.pki import cached_key

from .lab import PASSWORD, Container, Lab

pytestmark = pytest.mark.engine

SECRETS = {"KEY_FILE": "/run/secrets/key.pem", "KEY_PASSWORD_FILE": "/run/secrets/ssl_pw.txt"}
NEW_PASSWORD = b"another one"


def _roll_over(lab: Lab, front: Container, write: Callable[[bytes, bytes], None]) -> None:
    """CertMgr makes a new key; it is exported with a new password: the pair changes as one, the old one serves on."""
    old = lab.issued
    new = lab.authority.issue(NAME, key=cached_key(KeyType.RSA, "lab, rolled over"))
    lab.put(new)
    front.until_outcome("key-mismatch")
    assert front.served() == fingerprint(old)
    write(encrypted_pem(new.key, NEW_PASSWORD), NEW_PASSWORD + b"\n")
    front.until_serves(new)
    front.until_outcome("unchanged")


def test_a_folder(lab: Lab) -> None:
    """Files that are replaced by a rename, as editors and secrets agents do."""
    lab.key()
    lab.put()
    with lab.run("-v", f"{lab.folder}:/run/secrets:ro", environment=lab.environment(**SECRETS)) as front:
        front.until_serves(lab.issued)

        def write(key: bytes, password: bytes) -> None:
            lab.secret("ssl_pw.txt", password)
            lab.secret("key.pem", key)

        _roll_over(lab, front, write)


def test_single_files(lab: Lab) -> None:
    """Files that are mounted one by one can only be written in place."""
    lab.put()
    with lab.run(*lab.key()) as front:
        front.until_serves(lab.issued)

        def write(key: bytes, password: bytes) -> None:
            for name, data in {"ssl_pw.txt": password, "key.pem": key}.items():
                (lab.folder / name).chmod(0o600)
                (lab.folder / name).write_bytes(data)

        _roll_over(lab, front, write)


def test_single_files_are_followed_at_once(lab: Lab) -> None:
    """What the host writes into such a file is taken up within seconds; another one in its place is known and said."""
    lab.put()
    with lab.run(*lab.key(), environment=lab.environment(CERTMGR_CHECK_INTERVAL="3600")) as front:
        front.until_serves(lab.issued)
        front.until_outcome("installed")
        (lab.folder / "ssl_pw.txt").chmod(0o600)
        (lab.folder / "ssl_pw.txt").write_bytes(b"another\n")
        assert front.until(lambda: front.certificate().get("outcome") == "wrong-password", "the outcome") < 10
        lab.secret("ssl_pw.txt", PASSWORD + b"\n")
        front.execute("certfront", "refresh", check=False)
        warnings = {each["where"]: each["reason"] for each in front.report()["configuration"]["warnings"]}
        assert "mount the folder" in warnings["/etc/nginx/ssl_pw.txt"]
        assert "/etc/nginx/key.pem" not in warnings
        assert front.served() == fingerprint(lab.issued)


def test_kubernetes_layout(lab: Lab) -> None:
    """A secret's files are links into ``..data``, itself a link that is swapped."""
    folder = lab.folder / "secret"
    folder.mkdir()
    _swap(folder, "..1", encrypted_pem(lab.issued.key, PASSWORD), PASSWORD + b"\n")
    for name in ("key.pem", "ssl_pw.txt"):
        (folder / name).symlink_to(f"..data/{name}")
    lab.put()
    with lab.run("-v", f"{folder}:/run/secrets:ro", environment=lab.environment(**SECRETS)) as front:
        front.until_serves(lab.issued)
        _roll_over(lab, front, lambda key, password: _swap(folder, "..2", key, password))


def _swap(folder: Path, version: str, key: bytes, password: bytes) -> None:
    (folder / version).mkdir()
    for name, data in {"key.pem": key, "ssl_pw.txt": password}.items():
        (folder / version / name).write_bytes(data)
    new = folder / "..data_tmp"
    new.symlink_to(version)
    new.rename(folder / "..data")


def test_a_file_that_the_engine_made_a_folder_of(lab: Lab) -> None:
    """A key that does not exist on the host becomes a folder in the container: it is named, and the hint says why."""
    with lab.run("-v", f"{lab.folder}/forgotten.pem:/etc/nginx/key.pem:ro") as front:
        front.until_outcome("key-unreadable")
        assert "/etc/nginx/key.pem is a directory" in front.certificate()["detail"]
        assert "does not exist on the host" in front.certificate()["hint"]
