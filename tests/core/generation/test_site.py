"""The built-in site: every variant is one that NGINX accepts, and the digest changes only with what NGINX runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from entrypoint.core.doubts import shortcomings
from entrypoint.core.generation.gate import Gate
from entrypoint.core.generation.plan import Plan
from entrypoint.core.generation.site import Site, fill, packaged_config
from entrypoint.core.generation.surroundings import around
from entrypoint.core.x509.credential import Credential
from entrypoint.edges import nginx, packaged
from tests.core.generation.test_rewrite import source
from tests.support import pki, rig

CA = pki.root()
RSA = pki.issue("www.acme.io", CA, names=["www.acme.io", "*.acme.io"], key=pki.rsa_key(31))
EC = pki.issue("www.acme.io", CA, names=["www.acme.io", "*.acme.io"], key=pki.ec_key(31))
PAIR, DUAL = (rig.usable(EC),), (rig.usable(RSA), rig.usable(EC))
TWO_KEYS: dict[str, str | None] = {"KEY_FILE": "/keys/rsa.pem,/keys/ec.pem"}
HOSTS: dict[str, Any] = {"hosts": {"app.local": "192.0.2.7", "app6.local": "2001:db8::7"}}
LONG = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])

# What differs from the plain site: variables, pairs (one of ECDSA by default), facts.
VARIANTS: dict[str, tuple[Mapping[str, str | None], tuple[Credential, ...], Mapping[str, Any]]] = {
    "static": ({}, PAIR, {}),
    "upstream": ({"UPSTREAM": "http://app:8080"}, PAIR, {}),
    "upstream with a path": ({"UPSTREAM": "http://app:8080/base/"}, PAIR, {}),
    "upstream over https": ({"UPSTREAM": "https://app.acme.io"}, PAIR, {}),
    "upstream by IPv4": ({"UPSTREAM": "http://192.0.2.1:8080"}, PAIR, {}),
    "upstream by IPv6": ({"UPSTREAM": "http://[2001:db8::1]:8080/x"}, PAIR, {}),
    "upstream from the hosts file": ({"UPSTREAM": "http://app.local:8080"}, PAIR, HOSTS),
    "upstream from the hosts file by IPv6": ({"UPSTREAM": "https://app6.local"}, PAIR, HOSTS),
    "ACME proxy": ({"ACME_CHALLENGE": "proxy"}, PAIR, {}),
    "ACME proxy to a target": (
        {"ACME_CHALLENGE": "proxy", "ACME_CHALLENGE_TARGET": "http://[2001:db8::2]:8080"},
        PAIR,
        {},
    ),
    "ACME proxy from the hosts file": (
        {"ACME_CHALLENGE": "proxy", "ACME_CHALLENGE_TARGET": "https://app6.local"},
        PAIR,
        HOSTS,
    ),
    "ACME off": ({"ACME_CHALLENGE": "off"}, PAIR, {}),
    "no CertMgr": ({"CERTMGR_HOST": None}, PAIR, {}),
    "CertMgr by IPv6": ({"CERTMGR_HOST": "[2001:db8::3]:8443"}, PAIR, {}),
    "pending, wait": ({"BEFORE_TLS": "wait"}, (), {}),
    "pending, serve": ({"BEFORE_TLS": "serve"}, (), {}),
    "pending, serve an upstream": ({"BEFORE_TLS": "serve", "UPSTREAM": "https://app.acme.io/x"}, (), {}),
    "HSTS": ({"HSTS": "max-age=31536000; includeSubDomains; preload"}, PAIR, {}),
    "no IPv6": ({}, PAIR, {"ipv6": False}),
    "no IPv6, upstream": ({"UPSTREAM": "http://app:8080"}, PAIR, {"ipv6": False}),
    "JSON log": ({"LOG_FORMAT": "json"}, PAIR, {"access_log": True}),
    "text log": ({"LOG_FORMAT": "text", "LOG_LEVEL": "debug"}, PAIR, {"access_log": True}),
    "dual": (TWO_KEYS, DUAL, {}),
    "dual, one pending": (TWO_KEYS, DUAL[:1], {}),
    "dual, both pending": (TWO_KEYS, (), {}),
    "wildcard": ({"SERVER_NAME": "*.acme.io"}, PAIR, {}),
    "many names": ({"SERVER_NAME": "www.acme.io, *.acme.io acme.io 192.0.2.9 2001:db8::9 Straße.de"}, PAIR, {}),
    "the longest name": ({"SERVER_NAME": f"www.acme.io, {LONG}, *.{LONG[2:]}"}, PAIR, {}),
    "1,000 names": ({"SERVER_NAME": " ".join(f"host-{number}.sub.acme.io" for number in range(1000))}, PAIR, {}),
    "no name": ({"SERVER_NAME": None}, (), {}),
    "no name, serve": ({"SERVER_NAME": None, "BEFORE_TLS": "serve", "UPSTREAM": "http://app"}, (), {}),
    "no name server": ({"UPSTREAM": "http://app:8080"}, PAIR, {"nameservers": ()}),
    "name servers": ({"UPSTREAM": "http://app:8080"}, PAIR, {"nameservers": ("192.0.2.53", "2001:db8::53")}),
    "public port": ({"HTTPS_PUBLIC_PORT": "8443"}, PAIR, {}),
}


def _variant(name: str, folder: Path, version: tuple[int, int, int]) -> Plan:
    variables, pairs, changes = VARIANTS[name]
    return rig.plan(rig.settings(folder, **variables), *pairs, known=rig.facts(version, **changes))


def _test(program: str, name: str, folder: Path) -> None:
    wanted = _variant(name, folder, nginx.build(program).version)
    rig.run_folders(wanted.settings.run_dir)
    nginx.test(program, rig.write(folder / "generation", wanted.files(1)))


@pytest.mark.process
@pytest.mark.parametrize("name", VARIANTS)
def test_accepted(name: str, tmp_path: Path) -> None:
    """A modern NGINX accepts the variant, with chain and key loaded."""
    _test(rig.NEW, name, tmp_path)


@pytest.mark.process
@pytest.mark.old_nginx
@pytest.mark.parametrize("name", VARIANTS)
def test_accepted_by_an_old_nginx(name: str, tmp_path: Path) -> None:
    """Debian's NGINX, which knows neither `http2 on` nor `keepalive_min_timeout`, accepts the variant as well."""
    _test(rig.DEBIAN, name, tmp_path)


def _site(folder: Path, *pairs: Credential, http3: bool = False, **variables: str | None) -> str:
    return rig.plan(rig.settings(folder, **variables), *pairs, known=rig.facts(http3=http3)).texts(1)["site.conf"]


def _snippet(folder: Path, name: str, **variables: str | None) -> str:
    return rig.plan(rig.settings(folder, **variables), *PAIR).texts(1)[f"snippets/{name}.conf"]


@pytest.mark.parametrize(
    ("version", "http2", "min_timeout"),
    [
        ((1, 22, 1), "listen", False),
        ((1, 25, 0), "listen", False),
        ((1, 25, 1), "directive", False),
        ((1, 27, 3), "directive", False),
        ((1, 27, 4), "directive", True),
        ((1, 31, 3), "directive", True),
    ],
)
def test_by_version(tmp_path: Path, version: tuple[int, int, int], http2: str, min_timeout: bool) -> None:
    """HTTP/2 is on in every version, in the words that it knows; keep-alive is spared on reload where it can be."""
    texts = rig.plan(rig.settings(tmp_path), *PAIR, known=rig.facts(version)).texts(1)
    listens = re.findall(r"listen \S+ ssl( http2)?( default_server)?;", texts["site.conf"])
    assert len(listens) == 4
    assert all(bool(found[0]) == (http2 == "listen") for found in listens)
    assert ("http2 on;" in texts["site.conf"]) == (http2 == "directive")
    assert ("keepalive_min_timeout" in texts["nginx.conf"]) == min_timeout


@pytest.mark.parametrize("ipv6", [True, False])
def test_ipv6(tmp_path: Path, ipv6: bool) -> None:
    """Every port is listened on over IPv6 where the kernel has it, and nowhere otherwise."""
    texts = rig.plan(rig.settings(tmp_path), *PAIR, known=rig.facts(ipv6=ipv6)).texts(1)
    for port, count in {18080: 1, 18443: 2, 18081: 1}.items():
        found = [text.count(f"listen [::]:{port} ") for text in (texts["site.conf"], texts["status.conf"])]
        assert sum(found) == count * ipv6
        assert sum(text.count(f"listen {port} ") for text in texts.values()) == count


@pytest.mark.parametrize(
    ("address", "listens"),
    [
        (None, ["18081", "[::]:18081"]),
        ("127.0.0.1", ["127.0.0.1:18081"]),
        ("::1", ["[::1]:18081"]),
        ("0.0.0.0", ["0.0.0.0:18081"]),
        ("::", ["[::]:18081"]),
    ],
)
@pytest.mark.parametrize("ipv6", [True, False])
def test_status_address(tmp_path: Path, address: str | None, listens: list[str], ipv6: bool) -> None:
    """The status port is on the address that is asked for, or on all; the site's ports stay where they are."""
    known = rig.facts(ipv6=ipv6)
    texts = rig.plan(rig.settings(tmp_path, STATUS_ADDRESS=address), *PAIR, known=known).texts(1)
    expected = listens if address or ipv6 else listens[:1]
    assert re.findall(r"listen ([^\s\"]+) default_server;", texts["status.conf"]) == expected
    assert texts["site.conf"] == rig.plan(rig.settings(tmp_path), *PAIR, known=known).texts(1)["site.conf"]


@pytest.mark.parametrize(
    ("openssl", "hybrid"), [((3, 5, 1), True), ((4, 0, 0), True), ((3, 4, 9), False), ((1, 1, 1), False), ((), False)]
)
def test_curves(tmp_path: Path, openssl: tuple[int, ...], hybrid: bool) -> None:
    """Mozilla's groups, in its order; the hybrid one where this OpenSSL has it."""
    texts = rig.plan(rig.settings(tmp_path), *PAIR, known=rig.facts(openssl=openssl)).texts(1)
    line = "ssl_ecdh_curve " + "X25519MLKEM768:" * hybrid + "X25519:prime256v1:secp384r1;"
    assert line in texts["snippets/tls.conf"].splitlines()


@pytest.mark.parametrize(("limit", "written"), [(0, 16384), (1048576, 16384), (16384, 16384), (4096, 4096), (256, 256)])
def test_descriptors(tmp_path: Path, limit: int, written: int) -> None:
    """Workers may have what their connections need, as far as this process may give it."""
    texts = rig.plan(rig.settings(tmp_path), *PAIR, known=rig.facts(nofile=limit)).texts(1)
    assert f"\nworker_rlimit_nofile {written};\n" in texts["nginx.conf"]


def test_challenge(tmp_path: Path) -> None:
    """The challenge's path leads to CertMgr, with or without TLS, as the setting says."""
    for pairs in (PAIR, ()):
        assert "include snippets/acme-challenge.conf;" in _site(tmp_path, *pairs)
    redirect = _snippet(tmp_path, "acme-challenge")
    assert "location ^~ /.well-known/acme-challenge/ {\n" in redirect
    assert "    return 301 https://certmgr.acme.com$request_uri;\n" in redirect
    proxy = _snippet(tmp_path, "acme-challenge", ACME_CHALLENGE="proxy", ACME_CHALLENGE_TARGET="http://other:81")
    assert 'set $certfront_certmgr "other:81";' in proxy
    assert "proxy_pass http://$certfront_certmgr/.well-known/acme-challenge/$certfront_token;" in proxy
    for nothing in ({"ACME_CHALLENGE": "off"}, {"CERTMGR_HOST": None}):
        text = _snippet(tmp_path, "acme-challenge", **nothing)
        assert all(line.startswith("#") for line in text.splitlines())


@pytest.mark.parametrize(("port", "expected"), [("443", ""), ("8443", ":8443")])
def test_redirect(tmp_path: Path, port: str, expected: str) -> None:
    """Once TLS is on, port 80 redirects to the public port, which is not named where it is the usual one."""
    text = _snippet(tmp_path, "https-redirect", HTTPS_PUBLIC_PORT=port)
    assert f"return 301 https://$certfront_name{expected}$request_uri;" in text
    assert "include snippets/https-redirect.conf;" in _site(tmp_path, *PAIR)
    assert "https-redirect" not in _site(tmp_path)


def test_hsts(tmp_path: Path) -> None:
    """The built-in site has HSTS where it is asked for; the snippet has a value in any case."""
    assert "hsts.conf" not in _site(tmp_path, *PAIR)
    assert "include snippets/hsts.conf;" in _site(tmp_path, *PAIR, HSTS="max-age=1")
    for chosen, value in ((None, "max-age=63072000"), ("off", "max-age=63072000"), ("max-age=1", "max-age=1")):
        assert f'add_header Strict-Transport-Security "{value}" always;' in _snippet(tmp_path, "hsts", HSTS=chosen)


def test_before_tls(tmp_path: Path) -> None:
    """A pending site says 503 on port 80, or is served there; TLS is commented out with the reason."""
    wait = _site(tmp_path)
    assert "return 503 '<!doctype html>" in wait
    assert "Retry-After" in wait
    serve = _site(tmp_path, BEFORE_TLS="serve", UPSTREAM="http://app:8080")
    assert "return 503" not in serve
    assert re.search(r"^ {4}.*set \$certfront_upstream", serve, re.MULTILINE)
    for text in (wait, serve):
        assert "# certfront: commented out: the certificate has not arrived yet\n# server {" in text
        assert "\n#     ssl_certificate " in text
        assert not re.search(r"^\s*ssl_certificate ", text, re.MULTILINE)


def test_one_of_two_pairs(tmp_path: Path) -> None:
    """A dual site runs with the one pair that is usable; the other's lines alone are commented out."""
    chosen = rig.settings(tmp_path, **TWO_KEYS)
    text = rig.plan(chosen, DUAL[0], reasons={"site-2": "no key yet"}).texts(1)["site.conf"]
    assert len(re.findall(r"^\s*ssl_certificate(_key)? ", text, re.MULTILINE)) == 2
    gone = r"^# certfront: commented out: no key yet\n# +ssl_certificate .+;\n# +ssl_certificate_key .+;\n +root "
    assert len(re.findall(gone, text, re.MULTILINE)) == 1
    assert "include snippets/https-redirect.conf;" in text


def test_passwords(tmp_path: Path) -> None:
    """Encrypted keys get one password file, in the run folder; plain keys none."""
    encrypted = rig.usable(EC, key_pem=pki.key_pem(EC.key, b"secret"))
    chosen = rig.settings(tmp_path, **TWO_KEYS)
    for pairs, count in (((DUAL[0], encrypted), 1), ((encrypted, encrypted), 1), (DUAL, 0)):
        text = rig.plan(chosen, *pairs).texts(1)["site.conf"]
        assert text.count("ssl_password_file") == count
        assert text.count(f'ssl_password_file "{tmp_path}/run/passwords/') == count
        assert "secret" not in text


def test_hosts_file(tmp_path: Path) -> None:
    """NGINX's resolver reads no hosts file: a name from it becomes its address, and TLS keeps the name."""
    target = {"ACME_CHALLENGE": "proxy", "ACME_CHALLENGE_TARGET": "https://app.local"}
    chosen = rig.settings(tmp_path, UPSTREAM="https://app6.local:8080", **target)
    texts = rig.plan(chosen, *PAIR, known=rig.facts(**HOSTS)).texts(1)
    assert '"[2001:db8::7]:8080"' in texts["site.conf"]
    assert "proxy_ssl_name app6.local;" in texts["site.conf"]
    assert '"192.0.2.7"' in texts["snippets/acme-challenge.conf"]
    assert "proxy_ssl_name app.local;" in texts["snippets/acme-challenge.conf"]


def _quic(folder: Path, *pairs: Credential, **facts: Any) -> list[str]:
    """The QUIC listeners that run."""
    chosen = rig.settings(folder, HTTP3="on")
    text = rig.plan(chosen, *pairs, known=rig.facts(**facts)).texts(1)["site.conf"]
    return re.findall(r"^ *listen (\S+ quic.*);", text, re.MULTILINE)


def test_http3(tmp_path: Path) -> None:
    """Both TLS servers listen for QUIC; the options of the sockets are in the one that is there without a pair too."""
    first = [f"{address} quic reuseport default_server" for address in ("18443", "[::]:18443")]
    assert _quic(tmp_path, *PAIR, http3=True) == [*first, "18443 quic", "[::]:18443 quic"]
    assert _quic(tmp_path, http3=True) == first
    assert _quic(tmp_path, *PAIR, http3=True, ipv6=False) == [first[0], "18443 quic"]
    text = _site(tmp_path, *PAIR, http3=True, HTTP3="on", HTTPS_PUBLIC_PORT="8443")
    assert "add_header Alt-Svc 'h3=\":8443\"; ma=86400' always;" in text
    assert text.count("http3 on;") == text.count("ssl_early_data off;") == 2


@pytest.mark.parametrize(
    ("listen", "options"),
    [
        ("listen 18443 ssl reuseport default_server;", " reuseport default_server"),  # another socket: TCP
        ("listen 8443 quic reuseport default_server;", " reuseport default_server"),  # another port
        ("listen 18443 quic;", " reuseport default_server"),
        ("listen 18443 quic reuseport;", " default_server"),
        ("listen 18443 quic reuseport default_server;", ""),
    ],
)
def test_http3_beside_the_users_own(listen: str, options: str, tmp_path: Path) -> None:
    """What a server of the user's says of the socket is not said once more: NGINX refuses that."""
    user = source(f"http {{ server {{ {listen} }} }}")
    chosen, facts = rig.settings(tmp_path, HTTP3="on"), rig.facts(http3=True, ipv6=False)
    site = Site(chosen, facts, packaged.packaged(), (), Gate(chosen, user))
    text = site.files(1, "", around(user.configuration))["site.conf"]
    assert f"    listen 18443 quic{options};\n" in text


def test_http3_where_it_cannot_be(tmp_path: Path) -> None:
    """An NGINX without HTTP/3 runs the site without it, and a sentence says so; without HTTP3=on nothing is said."""
    asked, off = (rig.settings(tmp_path, HTTP3=value) for value in ("on", "off"))
    able, unable = rig.facts(http3=True), rig.facts()
    assert rig.plan(asked, *PAIR, known=unable).texts(1) == rig.plan(off, *PAIR, known=able).texts(1)
    assert [len(shortcomings(asked, facts)) for facts in (able, unable)] == [0, 1]
    assert shortcomings(off, unable) == ()
    assert "--with-http_v3_module" in shortcomings(asked, unable)[0]


def test_digest_without_a_change(tmp_path: Path) -> None:
    """Equal inputs give equal digests; the generation's number and the reasons are not part of them."""
    chosen = rig.settings(tmp_path, **TWO_KEYS)
    one = rig.plan(chosen, DUAL[0], reasons={"site-2": "one"})
    other = rig.plan(rig.settings(tmp_path, **TWO_KEYS), rig.usable(RSA), reasons={"site-2": "other\nlines"})
    assert one.digest == other.digest
    assert one.texts(1) != one.texts(2)
    assert one.texts(1) != other.texts(1)
    assert replace(one, when="2026-01-01T00:00:00Z").digest == one.digest
    assert {one.manifest(number, "why").digest for number in (1, 2)} == {one.digest}


def test_digest_with_a_change(tmp_path: Path) -> None:
    """What NGINX would run differently gives another digest: a chain, a key, a setting, a pair that comes or goes."""
    chosen = rig.settings(tmp_path, **TWO_KEYS, UPSTREAM="http://app")
    plain = rig.plan(chosen, *DUAL)
    renewed = rig.usable(pki.issue("www.acme.io", CA, names=["www.acme.io"], key=RSA.key))
    others = [
        rig.plan(chosen, renewed, DUAL[1]),
        rig.plan(chosen, rig.usable(RSA, CA), DUAL[1]),  # an intermediate can change alone
        rig.plan(chosen, rig.usable(RSA, key_pem=pki.key_pem(RSA.key, b"secret")), DUAL[1]),
        rig.plan(chosen, DUAL[0]),
        rig.plan(chosen),
        rig.plan(rig.settings(tmp_path, **TWO_KEYS, HSTS="max-age=1"), *DUAL),
        rig.plan(chosen, *DUAL, known=rig.facts(nameservers=("192.0.2.1",))),
        replace(plain, user=packaged_config(chosen, plain.facts, {**plain.templates, "mime.types": "types { }\n"})),
    ]
    assert len({each.digest for each in [plain, *others]}) == 1 + len(others)


def test_fill() -> None:
    """Only `@{name}` is filled in: NGINX's own dollar signs, braces and other at signs stay."""
    template = 'set $a "@{value}"; # $b ${c} @d @ @{}\n    @{lines}\nend'
    text = fill(template.replace(" @{}", ""), {"value": "@{lines}", "lines": "one;\n\ntwo;"})
    assert text == 'set $a "@{lines}"; # $b ${c} @d @\n    one;\n\n    two;\nend\n'
    with pytest.raises(KeyError):
        fill("a @{missing} b", {})
