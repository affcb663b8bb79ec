"""Somebody else on the status port: sites go on, certfront knows its own NGINX, and the collision is named."""

from __future__ import annotations

import pytest

from entrypoint.core.model import KeyType
from tests.support.user import ROOT, SERVER, User

NAME = "own.acme.io"
HTTP = 'server {{ listen %s; server_name %s; return 200 "somebody else\\n"; }}\n'
RIVALS = {
    "default": HTTP % ("{status} default_server", "_"),
    "name": HTTP % ("{status}", "www.acme.io 127.0.0.1 localhost"),
    "address": HTTP % ("127.0.0.1:{status}", "_"),
    "tls": SERVER.replace("{https}", "{status}").replace("{name}", NAME),
    "proxy": HTTP % ("{status} proxy_protocol", "_"),
    "stream": 'stream {{ server {{ listen {status}; return "somebody else"; }} }}\n',
}


@pytest.mark.parametrize("rival", RIVALS)
def test_a_server_of_the_users(rival: str) -> None:
    """TLS comes in once and stays, health is certfront's own, and the warning has file and line."""
    with User() as user:
        issued = user.site(NAME, KeyType.ECDSA)
        user.give(issued, NAME)
        text = RIVALS[rival]
        if rival == "stream":
            user.put_file("nginx.conf", ROOT + text, status=user.status_port)
            where = f"{user.etc}/nginx.conf:{1 + ROOT.count(chr(10))}"
        else:
            user.put_file("conf.d/a-rival.conf", text, status=user.status_port)
            where = f"{user.etc}/conf.d/a-rival.conf:{2 if rival == 'tls' else 1}"
        user.start()
        user.until(lambda: user.serves(issued, NAME), "TLS")
        user.until(lambda: user.command("health", "--ready").returncode == 0, "readiness")
        health = user.command("health")
        assert (health.returncode, health.stdout) == (0, "ok\n")
        before = user.newest()
        user.check()
        assert user.newest() == before
        assert user.serves(issued, NAME)
        assert user.log().count(f"{where}: listens on port {user.status_port}, which is STATUS_PORT") == 1
        assert f"{where}: listens on port" in user.command("status").stdout
        user.tested()
