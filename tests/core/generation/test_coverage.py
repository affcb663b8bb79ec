"""Names that a certificate lacks: the servers that bear no others do not run, all others do, and it is said where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from entrypoint.core.generation.plan import Plan
from entrypoint.core.model import Outcome
from entrypoint.core.x509.credential import Credential
from entrypoint.edges import packaged
from tests.core.generation.test_rewrite import source
from tests.support import pki, rig

CA = pki.root()
IDENTITY = "/etc/nginx/a.crt /etc/nginx/a.key"
SERVER = "server {{ listen {listen}; server_name {names}; ssl_certificate a.crt; ssl_certificate_key a.key; }}\n"


def _plan(folder: Path, *servers: str, names: str, listen: str = "443 ssl", own: bool = False) -> Plan:
    """Servers by their names, a line each from the second on, that share one pair with a certificate for others."""
    lines = "".join(SERVER.format(listen=listen, names=each) for each in servers)
    found = source(f"events {{}} http {{\n{lines}}}\n")
    issued = pki.issue("x", CA, names=names.split(), key=pki.ec_key(41))
    usable = rig.usable(issued, CA, source="file" if own else "certmgr")
    chosen = rig.settings(folder, SERVER_NAME=None, KEY_FILE=None)
    return Plan(chosen, rig.facts(), packaged.packaged(), {IDENTITY: usable}, {}, found)


def _lines(where: Mapping[str, str]) -> list[int]:
    return [int(each.rpartition(":")[2]) for each in where]


@pytest.mark.parametrize(
    ("servers", "names", "gated", "warned"),
    [
        (["a.io", "b.io"], "a.io", [3], []),
        (["b.io", "a.io"], "a.io", [2], []),
        (["a.io b.io", "c.io"], "a.io", [3], [2]),
        (["a.io b.io", "c.io d.io"], "a.io c.io", [], [2, 3]),
        ([".a.io", "*.a.io"], "a.io", [3], [2]),
        (["www.a.io", "*.a.io"], "*.a.io", [], []),
        (["_", "~^x", '""', "b.io"], "a.io", [5], []),
        (["a.io", "www.a.io", "192.0.2.1"], "a.io 192.0.2.1", [3], []),
        (["A.io", "xn--strae-oqa.de", "straße.de"], "a.io xn--strae-oqa.de", [], []),
    ],
)
def test_who_runs(servers: list[str], names: str, gated: list[int], warned: list[int], tmp_path: Path) -> None:
    """A server of which no name is covered is gated alone; where some are, it runs with a warning at its place."""
    plan = _plan(tmp_path, *servers, names=names)
    out, warnings = plan.gate.users_part, dict(plan.warnings())
    assert (_lines(out), _lines(warnings)) == (gated, warned)
    assert all("server_name" in reason for reason in (*out.values(), *warnings.values()))
    assert [pair.identity for pair in plan.gate.running] == [IDENTITY]
    for line in gated:
        assert servers[line - 2].split()[0] in plan.gate.users_part[f"/etc/nginx/nginx.conf:{line}"]
    text = plan.texts(1)["nginx.conf"]
    assert text.count("\n# server {") == len(gated)
    assert text.count('ssl_certificate "certs/') == len(servers) - len(gated)


def test_plain_http_of_such_a_server_goes_on(tmp_path: Path) -> None:
    """Only its TLS listeners go."""
    plan = _plan(tmp_path, "b.io", "a.io", names="a.io", listen="80; listen 443 ssl")
    text = plan.texts(1)["nginx.conf"]
    assert text.count("listen 80;") == 2
    assert [*plan.gate.users_part] == ["/etc/nginx/nginx.conf:2"]


def test_names_of_the_user_s_own_are_the_user_s_choice(tmp_path: Path) -> None:
    """Nothing is gated, nothing is said."""
    plan = _plan(tmp_path, "a.io", "b.io", names="a.io", own=True)
    assert (plan.gate.users_part, plan.warnings()) == ({}, ())


def test_a_pair_whose_servers_all_lack_names(tmp_path: Path) -> None:
    """After all of them were renamed, say: nobody presents it, and the outcome is `wrong-name`."""
    plan = _plan(tmp_path, "b.io", "c.io", names="a.io")
    assert _lines(plan.gate.users_part) == [2, 3]
    assert plan.gate.running == ()
    assert plan.gate.gated_pairs[IDENTITY].outcome is Outcome.WRONG_NAME
    assert _plan(tmp_path, "b.io", "a.io", names="a.io").gate.gated_pairs == {}


def _site(folder: Path, *usables: Credential, **variables: str) -> Plan:
    return rig.plan(rig.settings(folder, SERVER_NAME="www.a.io b.io *.c.io", **variables), *usables)


def _usable(names: str, key: pki.PrivateKey | None = None) -> Credential:
    return rig.usable(pki.issue("x", CA, names=names.split(), key=key or pki.ec_key(41)), CA)


@pytest.mark.parametrize(
    ("names", "served", "door"),
    [
        ("www.a.io b.io *.c.io", "www.a.io b.io *.c.io", "www.a.io"),
        ("www.a.io", "www.a.io", "www.a.io"),
        ("b.io", "b.io", "b.io"),
        ("*.c.io", "*.c.io", "www.c.io"),
        ("*.a.io *.c.io", "www.a.io *.c.io", "www.a.io"),
    ],
)
def test_the_built_in_site_serves_the_names_that_are_covered(
    names: str, served: str, door: str, tmp_path: Path
) -> None:
    """The others are refused like any unknown name, and said; the proof asks for one that is covered."""
    plan = _site(tmp_path, _usable(names))
    assert f"server_name {served};" in plan.texts(1)["site.conf"]
    assert [each.name for pair in plan.gate.running for each in pair.doors] == [door]
    missing = [name for name in ("www.a.io", "b.io", "*.c.io") if name not in served.split()]
    assert [where for where, _ in plan.warnings()] == ["SERVER_NAME"] * bool(missing)
    assert all(name in reason for _, reason in plan.warnings() for name in missing)
    assert (plan.digest == _site(tmp_path, _usable("www.a.io b.io *.c.io")).digest) is False


def test_two_pairs_of_the_built_in_site(tmp_path: Path) -> None:
    """A name that one of them covers is served."""
    plan = _site(tmp_path, _usable("www.a.io", pki.rsa_key(41)), _usable("b.io"), KEY_FILE="/keys/a.pem,/keys/b.pem")
    assert "server_name www.a.io b.io;" in plan.texts(1)["site.conf"]
    one = replace(plan, usable=dict([*plan.usable.items()][:1]))
    assert "server_name www.a.io;" in one.texts(1)["site.conf"]


def test_without_a_certificate_all_names_are_waited_for(tmp_path: Path) -> None:
    """Nothing is said of names while there is no certificate to lack them."""
    plan = _site(tmp_path)
    assert "server_name www.a.io b.io *.c.io;" in plan.texts(1)["site.conf"]
    assert plan.warnings() == ()
