"""The hosts file and the list of name servers: what of them NGINX can use."""

from __future__ import annotations

from entrypoint.core.facts import addresses, nameservers

HOSTS = """\
# a comment
::1       localhost ip6-localhost both.local
127.0.0.1 localhost both.local   # another
192.0.2.7\tApp.Local app

192.0.2.8
fe80::1%eth0 scoped.local
"""
RESOLV = """\
search acme.io
nameserver 192.0.2.53
nameserver fe80::1%eth0
nameserver 2001:db8::53
nameserver
options edns0 # nameserver 192.0.2.99
"""


def test_addresses() -> None:
    """Names in lower case, IPv4 first; lines without a name say nothing; localhost is always there."""
    found = addresses(HOSTS)
    assert found["both.local"] == found["localhost"] == "127.0.0.1"
    assert found["ip6-localhost"] == "::1"
    assert found["app.local"] == found["app"] == "192.0.2.7"
    assert "192.0.2.8" not in found.values()
    assert addresses("") == {"localhost": "127.0.0.1"}


def test_nameservers() -> None:
    """In their order, without comments, scoped addresses and lines that name none."""
    assert nameservers(RESOLV) == ("192.0.2.53", "2001:db8::53")
    assert nameservers("") == ()
