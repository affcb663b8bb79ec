"""Doors that no handshake of certfront's opens: what stands behind them is served as NGINX does, and it is said."""

from __future__ import annotations

import time

import pytest

from entrypoint.core.model import KeyType
from entrypoint.demo.pki import Issued, certificate_pem, encrypted_pem
from entrypoint.demo.stage import fingerprint
from tests.support import rig
from tests.support.front import PASSWORD
from tests.support.pki import cached_key
from tests.support.user import ROOT, User

NAME = "own.acme.io"
OTHER = "other.acme.io"
PAIR = f"ssl_certificate {NAME}.crt; ssl_certificate_key {NAME}.key;\n# certfront: lookup={NAME}\n"
REJECTING = "server {{ listen {https} ssl default_server; ssl_reject_handshake on; }}\n"
LEFT_ALONE = """server {{ listen {https} ssl default_server; # certfront: off
ssl_certificate alone.crt; ssl_certificate_key alone.key; }}
"""
HTTP = "server {{ listen {https} ssl; %s " + PAIR + ' return 200 "own\\n"; }}\n'
STREAM = "stream {{ server {{ listen {status1} ssl%s; ssl_password_file ssl_pw.txt; %s " + PAIR + " return own; }} }}\n"
KINDS = {
    "a regex behind a rejecting default": REJECTING + HTTP % r"server_name ~^(www\.)?only$;",
    "a prefix behind a rejecting default": REJECTING + HTTP % "server_name www.only.*;",
    "a regex behind one that is left alone": LEFT_ALONE + HTTP % r"server_name ~^(www\.)?only$;",
    "an old protocol": "server {{ listen {status1} ssl; server_name "
    + NAME
    + "; ssl_protocols TLSv1.1; "
    + PAIR
    + "}}\n",
    "a closed stream": STREAM % ("", "deny all;"),
    "a stream for others": STREAM % (" proxy_protocol", "allow 192.0.2.0/24; deny all;"),
}


def _pair(user: User, name: str, *, own: bool = False) -> Issued:
    issued = user.authority.issue(NAME, key=cached_key(KeyType.ECDSA, name))
    (user.etc / f"{name}.key").write_bytes(encrypted_pem(issued.key, PASSWORD))
    if own:
        (user.etc / f"{name}.crt").write_bytes(certificate_pem(*issued.chain[:-1]))
    return issued


def _put(user: User, text: str) -> str:
    """The configuration with a free port more; returns where its last server begins."""
    (port,) = rig.free_ports(1)
    if text.startswith("stream"):
        user.put_file("nginx.conf", ROOT + text, status1=port)
        return f"{user.etc}/nginx.conf:{1 + ROOT.count(chr(10))}"
    user.put_file("conf.d/own.conf", text, status1=port)
    return f"{user.etc}/conf.d/own.conf:{1 + text[: text.rindex('server {{')].count(chr(10))}"


@pytest.mark.parametrize("kind", KINDS)
def test_served_and_said(kind: str) -> None:
    """It comes in within seconds, stays, is ready and named once; the innocent beside it are served and renewed."""
    with User() as user:
        issued, other = _pair(user, NAME), user.site(OTHER)
        _pair(user, "alone", own=True)
        where = _put(user, KINDS[kind])
        user.give(issued, NAME)
        user.give(other, OTHER)
        user.start()
        began = time.monotonic()
        user.until(lambda: user.entry(NAME).get("fingerprint_sha256") == fingerprint(issued), "the status")
        user.until(lambda: user.serves(other, OTHER), "the innocent")
        assert time.monotonic() - began < 15
        user.until(lambda: user.command("health", "--ready").returncode == 0, "readiness")
        before = user.newest()
        for _ in range(3):
            user.check()
        assert user.newest() == before
        warnings = [each for each in user.report()["configuration"]["warnings"] if each["where"] == where]
        assert len(warnings) == 1
        assert f"{NAME} is served, but no handshake proves it: " in warnings[0]["reason"]
        assert user.log().count(f"{where}: ") == 1
        assert "no handshake proves it" in str(user.entry(NAME)["detail"])
        renewed = user.authority.issue(OTHER, key=other.key)
        user.give(renewed, OTHER)
        user.until(lambda: user.serves(renewed, OTHER), "the innocent's renewal")
        user.tested()


def test_a_stream_that_closes_behind_the_handshake() -> None:
    """Where clients without a certificate are sent away after the handshake, that proves it, and nothing is logged."""
    with User() as user:
        issued = _pair(user, NAME, own=True)
        (user.etc / "ca.pem").write_bytes(certificate_pem(issued.chain[-1]))
        _put(user, STREAM % ("", "ssl_verify_client on; ssl_client_certificate ca.pem;"))
        user.start()
        user.until(lambda: _states(user) == ["serving"], "the status")
        user.until(lambda: user.command("health", "--ready").returncode == 0, "readiness")
        assert [entry["detail"] for entry in user.report()["certificates"]] == [""]
        assert "eof_received" not in user.log()


def test_two_kinds_where_the_server_chooses() -> None:
    """RSA and ECDSA over TLS 1.3 alone: both are served at once; which one a client gets is nobody's fault."""
    with User() as user:
        pairs = []
        for kind in KeyType:
            issued = user.authority.issue(NAME, key=cached_key(kind, NAME))
            (user.etc / f"{kind}.key").write_bytes(encrypted_pem(issued.key, PASSWORD))
            (user.etc / f"{kind}.crt").write_bytes(certificate_pem(*issued.chain[:-1]))
            pairs.append(f"ssl_certificate {kind}.crt; ssl_certificate_key {kind}.key;")
        text = f"server {{{{ listen {{https}} ssl; server_name {NAME}; ssl_protocols TLSv1.3; {' '.join(pairs)} }}}}\n"
        user.put_file("conf.d/own.conf", text)
        user.start()
        began = time.monotonic()
        user.until(lambda: _states(user) == ["serving"] * 2, "both in the status")
        assert time.monotonic() - began < 10
        user.until(lambda: user.command("health", "--ready").returncode == 0, "readiness")
        warnings = user.report()["configuration"]["warnings"]
        assert [each for each in warnings if str(user.etc) in each["where"]] == []
        assert "answers for" not in user.log()
        assert "no handshake proves" not in user.log()
        details = [each["detail"] for each in user.report()["certificates"]]
        assert sorted(bool(detail) for detail in details) == [False, True]
        assert "presents its other one there" in max(details)


def _states(user: User) -> list[str]:
    return [each["state"] for each in user.report().get("certificates", [])]
