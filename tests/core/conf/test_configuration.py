"""The user's configuration as certfront sees it: servers, listeners, names, pairs, and comments to certfront."""

from __future__ import annotations

from pathlib import Path

import pytest

from entrypoint.core.conf.configuration import Configuration, read
from entrypoint.core.conf.edit import Replace, render
from entrypoint.core.conf.includes import Unread
from entrypoint.core.conf.servers import Server
from entrypoint.core.conf.syntax import line_at, parse
from entrypoint.core.generation.catch_all import unsaid
from tests.core.conf.configurations import ROOT, ask_nginx, load, one_server, understood

PAIR = "ssl_certificate a.pem; ssl_certificate_key a.key;"


def _files(server: Server) -> list[tuple[str, str]]:
    return [(pair.certificate_file, pair.key_file) for pair in server.pairs]


def test_a_site() -> None:
    """What there is to know of a server, by example."""
    configuration = understood(
        {
            "nginx.conf": "events { }\nhttp {\n    include conf.d/*.conf;\n}\n",
            "conf.d/acme.conf": (
                "# The shop\nserver {\n    listen 443 ssl;\n    server_name www.ACME.io;\n    ssl_certificate c.pem;\n"
                '    ssl_certificate_key "/keys/k.pem";\n    ssl_password_file pw;\n}\n'
            ),
        }
    )
    (server,) = configuration.servers
    file = "/etc/nginx/conf.d/acme.conf"
    assert (server.context, server.place, server.names) == ("http", (file, 11), ("www.acme.io",))
    assert (server.block.directive.line, server.block.directive.last_line) == (2, 8)
    (listener,) = server.listeners
    assert (listener.socket, listener.tls, listener.parameters) == (("tcp", "0.0.0.0", 443), True, ("ssl",))
    (pair,) = server.pairs
    assert (pair.certificate_file, pair.key_file) == ("/etc/nginx/c.pem", "/keys/k.pem")
    assert (pair.certificate.file, pair.key.words[0].quoted, pair.inherited, pair.for_nginx_only) == (
        file,
        True,
        False,
        False,
    )
    assert server.password_file
    assert server.password_file.value == "pw"
    assert server.tls
    assert (server.rejects_handshake, server.off, server.lookup, server.faults) == (False, False, "", ())
    assert configuration.files == (ROOT, file)
    assert configuration.ends["http"] == (ROOT, 45)


# -- pairs ------------------------------------------------------------------------------------------------------------


def test_several_pairs() -> None:
    """Certificates and keys go together in their order, wherever in the server they stand."""
    server = one_server(
        "ssl_certificate r.pem; ssl_certificate e.pem; ssl_certificate_key r.key; ssl_certificate_key e.key;"
    )
    assert _files(server) == [("/etc/nginx/r.pem", "/etc/nginx/r.key"), ("/etc/nginx/e.pem", "/etc/nginx/e.key")]
    assert not any(pair.inherited for pair in server.pairs)


@pytest.mark.parametrize("context", ["http", "stream", "mail"])
def test_inheritance(context: str) -> None:
    """A server takes from around it, and from behind it too, what it does not name; what it names hides all that."""
    configuration = understood(
        f"{context} {{ server {{ listen 1 ssl; }}"
        " server { listen 2 ssl; ssl_certificate own.pem; ssl_password_file own.pw; }"
        f" {PAIR} ssl_password_file outer.pw; }}"
    )
    first, second = configuration.servers
    assert [(pair.inherited, *_files(first)[0]) for pair in first.pairs] == [
        (True, "/etc/nginx/a.pem", "/etc/nginx/a.key")
    ]
    assert [(pair.inherited, *_files(second)[0]) for pair in second.pairs] == [
        (False, "/etc/nginx/own.pem", "/etc/nginx/a.key")
    ]
    passwords = [server.password_file.value for server in (first, second) if server.password_file]
    assert passwords == ["outer.pw", "own.pw"]


def test_no_inheritance_between_contexts() -> None:
    """What is set in ``http`` is nothing to ``stream``."""
    configuration = understood(f"http {{ {PAIR} }} stream {{ server {{ listen 1 ssl; }} }}")
    assert [server.pairs for server in configuration.servers] == [()]


def test_a_shared_snippet() -> None:
    """A pair in a snippet is each server's that includes it, and each names the same place."""
    configuration = understood(
        {
            "nginx.conf": "http { server { include tls.conf; server_name a; } server { include tls.conf; } }",
            "tls.conf": f"listen 443 ssl; {PAIR}",
        }
    )
    first, second = configuration.servers
    assert first.pairs == second.pairs
    assert first.pairs[0].certificate.place == ("/etc/nginx/tls.conf", 16)
    assert first.tls
    assert second.tls
    assert not first.pairs[0].inherited


def test_a_file_in_two_contexts() -> None:
    """A file that is included in two contexts gives a server in each, of one place, with what each inherits."""
    text = "http { ssl_certificate_key h; include s.conf; } stream { ssl_certificate_key s; include s.conf; }"
    configuration = understood({"nginx.conf": text, "s.conf": "server { listen 443 ssl; ssl_certificate c; }"})
    http, stream = configuration.servers
    assert (http.context, stream.context) == ("http", "stream")
    assert http.place == stream.place
    assert [*_files(http), *_files(stream)] == [
        ("/etc/nginx/c", "/etc/nginx/h"),
        ("/etc/nginx/c", "/etc/nginx/s"),
    ]


@pytest.mark.parametrize(
    ("certificate", "key", "files"),
    [
        ("$ssl_server_name.pem", "k", ("", "/etc/nginx/k")),
        ("c", "keys/$host.key", ("/etc/nginx/c", "")),
        ("data:$pem", "data:$key", ("", "")),
        ("c", "engine:pkcs11:k", ("/etc/nginx/c", "")),
        ("c", "store:pkcs11:k", ("/etc/nginx/c", "")),
    ],
)
def test_for_nginx_only(certificate: str, key: str, files: tuple[str, str]) -> None:
    """Where a variable, an engine or data stand for a file, only NGINX can know the pair."""
    (pair,) = one_server(f"ssl_certificate '{certificate}'; ssl_certificate_key '{key}';").pairs
    assert (pair.certificate_file, pair.key_file) == files
    assert pair.for_nginx_only


@pytest.mark.process
def test_too_few_keys(tmp_path: Path) -> None:
    """A certificate without a key is a fault in NGINX's words, which do not name the place; a key too many is none."""
    text = "events { }\nhttp {\n  ssl_certificate a.pem;\n  server { listen unix:s; }\n  server { listen unix:t; }\n}\n"
    configuration = understood(text)
    (fault,) = configuration.faults
    said = ask_nginx(tmp_path, text)
    assert (fault.message, said.line) == (said.message, 0)
    assert (fault.file, fault.line) == (ROOT, 3)
    assert [server.faults for server in configuration.servers] == [(fault,), (fault,)]
    assert [server.pairs for server in configuration.servers] == [(), ()]
    two = one_server("ssl_certificate_key k; ssl_certificate_key l; ssl_certificate c;")
    assert _files(two) == [("/etc/nginx/c", "/etc/nginx/k")]
    assert two.faults == ()


@pytest.mark.process
@pytest.mark.parametrize("malformed", ["ssl_certificate;", "ssl_certificate a b;", "ssl_password_file;", "listen;"])
def test_malformed(malformed: str, tmp_path: Path) -> None:
    """What NGINX refuses, saying where, is passed over."""
    server = one_server(malformed)
    assert (server.pairs, server.password_file, server.faults) == ((), None, ())
    assert ask_nginx(tmp_path, f"events {{}} http {{ server {{\n {malformed} }} }}").line == 2


@pytest.mark.process
@pytest.mark.parametrize(
    ("text", "loads"),
    [
        ("http { server { listen unix:SOCK; PAIR } }", True),
        ("http { PAIR server { listen unix:SOCK; } }", True),
        ("http { PAIR server { listen unix:SOCK; ssl_certificate b.pem; } }", True),
        ("http { PAIR }", False),
        ("http { server { listen unix:SOCK; ssl_certificate $host; ssl_certificate_key $host; } }", False),
        ("stream { PAIR server { listen unix:SOCK; return x; } }", True),
        ("stream { server { listen unix:SOCK ssl; return x; PAIR } }", True),
    ],
)
def test_what_nginx_loads(tmp_path: Path, text: str, loads: bool) -> None:
    """A server has the pairs that NGINX loads for it, with TLS or without: NGINX misses the first one's file."""
    text = text.replace("PAIR", PAIR).replace("SOCK", str(tmp_path / "s"))
    said = ask_nginx(tmp_path, f"events {{ }} {text}")
    root = str(tmp_path / "nginx.conf")
    configuration = read(root, *load({root: text}, root))
    pairs = [pair for server in configuration.servers for pair in server.pairs if not pair.for_nginx_only]
    assert said.taken != loads
    assert bool(pairs) == loads
    assert all(f'cannot load certificate "{pair.certificate_file}"' in said.output for pair in pairs)


def _unsaid(configuration: Configuration, *gone: int) -> list[tuple[tuple[str, ...], str]]:
    """What nobody says any more when the servers with these numbers are gone: their names and the line."""
    servers = list(enumerate(configuration.servers))
    staying = [(server, socket) for n, server in servers if n not in gone for socket in server.listeners]
    lost = [(server, socket) for n, server in servers if n in gone for socket in server.listeners]
    return [(server.names, " ".join(word.value for word in line.words)) for server, line in unsaid(staying, lost)]


def test_unsaid() -> None:
    """What only servers that do not run said of a socket is found, once for each socket on which another one stays."""
    configuration = understood(
        "http { server { server_name a; listen 443 ssl proxy_protocol; listen 80; }\n"
        "server { server_name b; listen 443; listen 80; } server { server_name c; listen 444 ssl; }"
        "server { server_name d; listen 443 ssl reuseport; listen [::]:80 ipv6only=off default; }"
        "server { server_name e; listen [::]:80; } } stream { server { listen 443; } }"
    )
    assert _unsaid(configuration) == []
    assert _unsaid(configuration, 1, 2) == []
    assert _unsaid(configuration, 0) == [(("a",), "443 ssl proxy_protocol")]
    assert _unsaid(configuration, 3) == [(("d",), "443 ssl reuseport"), (("d",), "[::]:80 ipv6only=off default")]
    assert _unsaid(configuration, 0, 3) == [
        (("a",), "443 ssl proxy_protocol"),
        (("d",), "443 ssl reuseport"),
        (("d",), "[::]:80 ipv6only=off default"),
    ]
    assert _unsaid(configuration, 0, 1, 3, 4) == []


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "hosts"),
    [
        ("WWW.acme.io acme.io www.acme.io", ("www.acme.io", "acme.io")),
        ("*.acme.io", ("*.acme.io",)),
        (".acme.io", ("acme.io", "*.acme.io")),
        ("acme.*", ()),
        ("~^(?<x>.+)\\.acme\\.io$ b.acme.io", ("b.acme.io",)),
        ("_", ()),
        ("''", ()),
        ("$hostname", ()),
        ("bücher.de", ("xn--bcher-kva.de",)),
        ("192.0.2.1", ("192.0.2.1",)),
        (".", ()),
    ],
)
def test_hosts(said: str, hosts: tuple[str, ...]) -> None:
    """Of a server's names those count that a certificate can hold, as it spells them."""
    assert one_server(f"server_name {said};").hosts == hosts


def test_names() -> None:
    """All ``server_name`` settings count; NGINX compares in lower case, but for regular expressions."""
    server = one_server("server_name A.io ~^B; server_name C.io; location / { server_name d; }")
    assert server.names == ("a.io", "~^B", "c.io")
    assert one_server("").names == ()


# -- comments to certfront --------------------------------------------------------------------------------------------


def test_notes() -> None:
    """A comment in a server, however deep in it, names what to look for, or wants certfront to keep off."""
    configuration = understood(
        "http { server { # certfront: lookup=WWW.acme.io\r\n location / { #certfront:off\n } }\n"
        " server { # lookup=x\n # certfront: lookup=first.io\n # certfront: lookup=second.io\n } }"
    )
    first, second = configuration.servers
    assert (first.lookup, first.off) == ("www.acme.io", True)
    assert (second.lookup, second.off) == ("first.io", False)
    assert configuration.warnings == ()


def test_notes_in_snippets() -> None:
    """A comment in a file counts for every server that includes it."""
    configuration = understood(
        {
            "nginx.conf": "http { server { include off.conf; } server { } server { include deep.conf; } }",
            "deep.conf": "include off.conf;",
            "off.conf": "# certfront: off",
        }
    )
    assert [server.off for server in configuration.servers] == [True, False, True]
    assert configuration.warnings == ()


def test_notes_without_effect() -> None:
    """A comment that cannot be meant, or that nothing heeds, is warned of; what a copy says of itself is not."""
    configuration = understood(
        "# certfront: off\nhttp { server {\n # certfront: of\n # certfront: lookup=a..b\n # certfront:\n"
        "# certfront: commented out: pending\n} }"
    )
    knows = 'certfront knows "lookup=NAME" and "off", not "{}"'
    assert [(warning.line, warning.message) for warning in configuration.warnings] == [
        (1, "a comment to certfront has no effect outside of a server"),
        (3, knows.format("of")),
        (4, "lookup: 'a..b' is not a host name: a label is empty"),
        (5, knows.format("")),
    ]
    assert not configuration.servers[0].off


# -- levels and places ------------------------------------------------------------------------------------------------


def test_levels() -> None:
    """What is set at each level is known, through includes, and no more than that."""
    configuration = understood(
        {
            "nginx.conf": (
                "user nginx; include main.conf; events { worker_connections 1; } http { keepalive_min_timeout 5s;"
                " server { error_log x; } } stream { preread_timeout 1s; } mail { protocol imap; }"
            ),
            "main.conf": "pid /run/nginx.pid; worker_shutdown_timeout 9s;",
        }
    )
    assert {level: set(settings) for level, settings in configuration.levels.items()} == {
        "main": {"user", "include", "pid", "worker_shutdown_timeout", "events", "http", "stream", "mail"},
        "events": {"worker_connections"},
        "http": {"keepalive_min_timeout", "server"},
        "stream": {"preread_timeout"},
        "mail": {"protocol"},
    }
    assert [setting.value for setting in configuration.levels["main"]["pid"]] == ["/run/nginx.pid"]


def test_ends() -> None:
    """A text can be put in at the end of the first block of a kind, whatever file it is in; without one, nowhere."""
    configuration = understood({"nginx.conf": "include http.conf; http { }", "http.conf": "stream {}\nhttp { a; }"})
    assert configuration.ends == {"stream": ("/etc/nginx/http.conf", 8), "http": ("/etc/nginx/http.conf", 20)}
    text = "http { a; }"
    copy = render(text, [Replace(10, 10, "b;")])
    assert copy.text == "http { a; b;}"
    assert understood("events { } http on;").ends == {"events": ("/etc/nginx/nginx.conf", 9)}


def test_other_servers() -> None:
    """A ``server`` in an ``upstream``, in data, without a block or outside of its contexts is none."""
    configuration = understood(
        "server { } events { server { } } http { upstream u { server a; } map $a $b { server { } } server x; }"
    )
    assert configuration.servers == ()


def test_rejects_handshake() -> None:
    """A server that rejects handshakes needs no certificate; it may have this from around it."""
    assert one_server("ssl_reject_handshake ON;").rejects_handshake
    assert one_server("", "ssl_reject_handshake on;").rejects_handshake
    assert not one_server("ssl_reject_handshake off;", "ssl_reject_handshake on;").rejects_handshake


def test_faults_of_servers() -> None:
    """A fault in what a server includes, at any depth, is that server's; one elsewhere is nobody's, but is known."""
    configuration = understood(
        {
            "nginx.conf": "http { include gone.conf; server { location / { include bad.conf; } } server { } }",
            "bad.conf": "a {",
        }
    )
    first, second = configuration.servers
    assert [fault.message for fault in first.faults] == ['unexpected end of file, expecting "}"']
    assert second.faults == ()
    assert [fault.message for fault in configuration.faults] == [
        'open() "/etc/nginx/gone.conf" failed',
        'unexpected end of file, expecting "}"',
    ]


def test_broken_root() -> None:
    """Of a configuration that cannot be read there are faults, and no servers."""
    for texts in ({}, {"nginx.conf": "http { server { }"}):
        configuration = understood(texts)
        assert len(configuration.faults) == 1
        assert configuration.servers == ()


def test_servers_at() -> None:
    """A place in which NGINX finds fault leads to the servers that it belongs to, or that bring it in."""
    main = "http {\n server {\n include s.conf;\n } server { } \n server { include t.conf; } }"
    configuration = understood({"nginx.conf": main, "s.conf": "x;", "t.conf": "location / { include s.conf; }"})
    a, b, c = configuration.servers

    def at(file: str, line: int) -> tuple[Server, ...]:
        return configuration.servers_at(f"/etc/nginx/{file}", line)

    assert [at("nginx.conf", line) for line in range(1, 7)] == [(), (a,), (a,), (a, b), (c,), ()]
    assert at("s.conf", 1) == (a, c)
    assert at("t.conf", 1) == (c,)
    assert at("unknown.conf", 1) == ()


@pytest.mark.process
@pytest.mark.parametrize(
    "nonsense", ["listen nonsense:x;", "nonsense;", "location / {\n nonsense; }", "root a\n b\n ;"]
)
def test_nginx_names_theone_server(tmp_path: Path, nonsense: str) -> None:
    """Whatever NGINX finds fault with in a server, the line that it names is the server's."""
    text = f"events {{ }}\nhttp {{\n server {{ listen unix:a; }}\n server {{\n{nonsense}\n }}\n server {{ }}\n}}\n"
    root = str(tmp_path / "nginx.conf")
    said = ask_nginx(tmp_path, text)
    configuration = read(root, *load({root: text}, root))
    assert configuration.servers_at(root, said.line) == (configuration.servers[1],)
    assert line_at(text, configuration.servers[1].block.directive.start) == 4


def test_values() -> None:
    """Two readings of the same texts are equal: one look can be compared with the next."""
    first, second = (understood(f"http {{ server {{ listen 443 ssl; {PAIR} }} }}") for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("text", "gated", "left_out"),
    [
        ("http { include d/*; server { listen 80; } }", 0, 1),
        ("http { include d/*; server { listen 80; } server { include d/*; } }", 1, 1),
        ("http { server { location / { include d/*; } } server { listen 81; } }", 1, 0),
        ("stream { include d/*; server { listen 80; } }", 0, 1),
        ("include d/*; http { server { listen 80; } }", 0, 1),
    ],
)
def test_a_closed_file(text: str, gated: int, left_out: int) -> None:
    """It is left out alone, but where it may hold rules of a server: that does not run without them."""
    path = "/etc/nginx/d/a.conf"
    found = read(ROOT, {ROOT: parse(text)}, {"/etc/nginx/d/*": [path]}, {path: Unread("is closed", is_file=True)})
    assert len([server for server in found.servers if server.faults]) == gated
    assert len(found.left_out) == left_out
