"""What must not be found: plain keys, passwords, and the root in the chain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from entrypoint.core.model import KeyType
from entrypoint.demo.pki import Authority
from tests.support.front import PASSWORD, Front, holding, processes_with
from tests.support.pki import key_pem

pytestmark = pytest.mark.xdist_group("e2e-secrecy")

FORMS = (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL)


@pytest.fixture(scope="module")
def front() -> Iterator[Front]:
    """One that has seen several wrong things, so that there was much to log."""
    with Front({"LOG_LEVEL": "debug"}, KeyType.RSA) as front:
        front.serve()
        front.until_served(front.renew())
        front.secret("ssl_pw.txt", b"not this one\n")
        front.until(front.outcome("wrong-password"))
        front.secret("key.pem", key_pem(front.issued.key, PASSWORD, traditional=True))
        front.secret("ssl_pw.txt", b"wrong\n" + PASSWORD + b"\n")
        front.until(lambda: front.check()["outcome"] == "unchanged")
        yield front


def test_no_plain_key_is_on_disk(front: Front) -> None:
    """Neither as PEM nor as DER, below the state folder or the run folder; encrypted, it is there."""
    plain = [front.issued.key.private_bytes(Encoding.DER, form, NoEncryption()) for form in FORMS]
    body = key_pem(front.issued.key).splitlines()[1]
    for folder in (front.folder / "state", front.folder / "run"):
        assert not holding(folder, b"BEGIN PRIVATE KEY", *plain, body)
        traditional = holding(folder, b"BEGIN RSA PRIVATE KEY")
        assert all(b"Proc-Type: 4,ENCRYPTED" in path.read_bytes() for path in traditional)
    assert holding(front.folder / "state", b"BEGIN ENCRYPTED PRIVATE KEY")


def test_passwords_stay_in_files_of_the_run_folder(front: Front) -> None:
    """None below the state folder, in the log, in any process's arguments or environment; in the run folder only
    its owner can read them."""
    assert not holding(front.folder / "state", PASSWORD)
    assert PASSWORD.decode() not in front.log()
    assert front.log()
    processes = processes_with(str(front.folder))
    assert len(processes) >= 4  # supervisord, the agent, NGINX's master and its worker
    assert not processes_with(PASSWORD.decode())
    found = holding(front.folder / "run", PASSWORD)
    assert found
    for path in found:
        assert path.stat().st_mode & 0o077 == 0
        assert path.parent.stat().st_mode & 0o077 == 0


def test_nobody_else_can_read_a_key(front: Front) -> None:
    """Keys in generations, and their folders, belong to their owner alone."""
    keys = holding(front.folder / "state", b"PRIVATE KEY")
    assert keys
    assert all(path.stat().st_mode & 0o077 == 0 for path in keys)
    assert all(path.parent.stat().st_mode & 0o077 == 0 for path in keys)


def test_no_password_is_left_after_the_end() -> None:
    """A stop takes the password files out of the run folder."""
    with Front() as front:
        front.serve()
        assert holding(front.folder / "run", PASSWORD)
        assert front.stop() == 0
        assert not holding(front.folder / "run", PASSWORD)


def test_the_chain_is_put_in_order(front: Front) -> None:
    """CertMgr presents root, strangers and duplicates in any order: visitors get leaf and intermediate, no more."""
    strangers = Authority.create("Stranger").issue("stranger.example").chain
    issued = front.authority.issue("www.acme.io", key=front.issued.key)
    leaf, intermediate, root = issued.chain
    front.issued = replace(issued, chain=(leaf, root, strangers[1], intermediate, strangers[0], intermediate))
    front.put(front.issued)
    front.until_served(front.issued)
    wanted = [certificate.public_bytes(Encoding.DER) for certificate in (leaf, intermediate)]
    front.until(lambda: front.chain() == wanted, "the chain in order")
