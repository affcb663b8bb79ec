"""The user's own certificates at a real NGINX: served wherever it can serve them, with a warning in the status."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID

from entrypoint.core.x509 import pem
from tests.support.front import presented
from tests.support.pki import NOW, Issued, PrivateKey, cross_sign, ec_key, issue, key_pem, root, rsa_key
from tests.support.user import SERVER, User

LONG_AGO, AN_HOUR_AGO = NOW - timedelta(days=9), NOW - timedelta(hours=1)
ROOT = root("Root")
BETWEEN = issue("Issuing CA", ROOT, ca=True)
CROSSED = cross_sign(ROOT, root("Older"), not_before=LONG_AGO, not_after=AN_HOUR_AGO)
CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
ED25519 = ed25519.Ed25519PrivateKey.generate()
POOL, KOBLITZ = ec_key(9, ec.BrainpoolP256R1), ec_key(8, ec.SECP256K1)
OTHER = "other.acme.io"


@pytest.fixture
def user() -> Iterator[User]:
    with User() as found:
        yield found


def put(user: User, name: str, *certs: Issued, label: bytes = b"CERTIFICATE") -> tuple[bytes, ...]:
    """A server with the user's own certificate, whose leaf's file has another label; what it should present."""
    (user.etc / f"{name}.key").write_bytes(key_pem(certs[0].key))
    leaf = pem.encode([certs[0].der]).replace(b"CERTIFICATE", label)
    (user.etc / f"{name}.crt").write_bytes(leaf + pem.encode([each.der for each in certs[1:]]))
    user.put_file(f"conf.d/{name}.conf", SERVER, name=name)
    return tuple(each.der for each in certs)


def site(name: str, issuer: Issued = BETWEEN, key: PrivateKey | None = None, **options: object) -> Issued:
    return issue(name, issuer, names=[name], key=key or ec_key(70), **options)  # type: ignore[arg-type]


def shows(user: User, name: str) -> tuple[bytes, ...]:
    try:
        return tuple(presented(user.https_port, name))
    except OSError:
        return ()


def warning(user: User, name: str) -> str:
    found = user.report().get("configuration", {}).get("warnings", [])
    return "".join(each["reason"] for each in found if each["where"] == str(user.etc / f"{name}.crt"))


def test_what_nginx_can_serve_is_served(user: User) -> None:
    """Each as it stands in its file, beside the others; what browsers will say is in the entry and in the warnings."""
    early = site("early.io", not_before=NOW + timedelta(days=1))
    wanted = {
        "alone.io": put(user, "alone.io", site("alone.io")),
        "old.io": put(user, "old.io", site("old.io", not_before=LONG_AGO, not_after=AN_HOUR_AGO), BETWEEN),
        "early.io": put(user, "early.io", early, BETWEEN),
        "client.io": put(user, "client.io", site("client.io", extensions=[CLIENT]), BETWEEN),
        "edwards.io": put(user, "edwards.io", site("edwards.io", key=ED25519), BETWEEN),
        "nameless.io": put(user, "nameless.io", issue("nameless.io", BETWEEN, key=ec_key(71)), BETWEEN),
    }
    quiet = {
        "x509.io": put(user, "x509.io", site("x509.io"), BETWEEN, label=b"X509 CERTIFICATE"),
        "trusted.io": put(user, "trusted.io", site("trusted.io"), BETWEEN, label=b"TRUSTED CERTIFICATE"),
        "crossed.io": put(user, "crossed.io", site("crossed.io"), BETWEEN, CROSSED),
        "moved.io": put(user, "moved.io", site("moved.io"), ROOT, BETWEEN),
    }
    user.start()
    for name, chain in (wanted | quiet).items():
        user.until(lambda name=name, chain=chain: shows(user, name) == chain, name)  # type: ignore[misc]
    user.until(lambda: all(user.entry(name).get("outcome") for name in wanted), "all were looked at")
    entries = {name: user.entry(name) for name in wanted | quiet}
    assert {entry["outcome"] for entry in entries.values()} <= {"installed", "unchanged"}
    assert {entry["source"] for entry in entries.values()} == {"file"}
    assert entries["old.io"]["state"] == "expired"
    assert entries["edwards.io"]["key_type"] is None
    for name in wanted:
        assert str(entries[name]["detail"]).startswith("served as it is, but browsers will object: "), name
        assert "browsers will object" in warning(user, name)
    assert not any(entries[name]["detail"] or warning(user, name) for name in quiet)
    assert user.http("/readyz", user.status_port)[0] == 200
    assert "warning" in user.command("status").stdout
    user.stop()
    user.start()
    for name, chain in (wanted | quiet).items():
        user.until(lambda name=name, chain=chain: shows(user, name) == chain, f"{name} after a restart")  # type: ignore[misc]
    user.until(lambda: user.entry("edwards.io").get("state") == "serving", "the status after a restart")


def test_what_no_handshake_can_show_is_served(user: User) -> None:
    """A brainpool curve, which Python's own TLS does not offer, comes in beside a usual one, and stays."""
    put(user, "pool.io", site("pool.io", key=ec_key(9, ec.BrainpoolP256R1)), BETWEEN)
    usual = put(user, OTHER, site(OTHER), BETWEEN)
    user.start()
    user.until(lambda: shows(user, OTHER) == usual, "the usual one")
    user.until(lambda: user.entry("pool.io").get("outcome") in ("installed", "unchanged"), "the unusual one")
    assert (user.current / "certs" / "pool.io").is_dir()
    assert user.commented_out() == {}
    assert "brainpoolP256r1" in warning(user, "pool.io")


@pytest.mark.parametrize("kind", ["brainpoolP256r1", "secp256k1", "Ed25519", "RSA"])
def test_another_kind_at_a_door_that_was_proved(user: User, kind: str) -> None:
    """A key of another kind in the same files is served at once, though a handshake of ours may not show it."""
    put(user, "own.io", site("own.io"), BETWEEN)
    usual = put(user, OTHER, site(OTHER), BETWEEN)
    user.start()
    user.until(lambda: user.entry("own.io").get("state") == "serving", "the usual key")
    keys: dict[str, PrivateKey] = {"brainpoolP256r1": POOL, "secp256k1": KOBLITZ, "Ed25519": ED25519, "RSA": rsa_key(9)}
    new = put(user, "own.io", site("own.io", key=keys[kind]), BETWEEN)
    leaf = hashlib.sha256(new[0]).hexdigest()
    user.until(lambda: user.entry("own.io").get("fingerprint_sha256") == leaf, "the other key")
    assert shows(user, OTHER) == usual
    provable = kind in ("Ed25519", "RSA")
    user.until(lambda: ("no handshake proves it" in user.log()) == (not provable), "what is said of the proof")
    assert "not served" not in user.log()
    assert (shows(user, "own.io") == new) == provable
    before = user.newest()
    user.check()
    assert user.newest() == before


def test_what_nginx_refuses_is_gated_alone(user: User) -> None:
    """An RSA key of 1024 bits is too short for OpenSSL's security level; NGINX's own words are the reason."""
    put(user, "short.io", site("short.io", key=rsa_key(9, 1024)), BETWEEN)
    usual = put(user, OTHER, site(OTHER), BETWEEN)
    user.start()
    user.until(lambda: shows(user, OTHER) == usual, "the usual one")
    user.until(user.commented_out, "the short one gated")
    assert [*user.commented_out()] == ["short.io.conf:1"]
    assert "key too small" in user.commented_out()["short.io.conf:1"]
