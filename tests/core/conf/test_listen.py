"""Where servers listen: sockets, however they are written, TLS, parameters, and whose default they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.conf.configurations import ask_nginx, one_server, understood

PAIR = "ssl_certificate a.pem; ssl_certificate_key a.key;"


@pytest.mark.parametrize(
    ("said", "socket"),
    [
        ("443", ("tcp", "0.0.0.0", 443)),
        ("*:443", ("tcp", "0.0.0.0", 443)),
        ("0.0.0.0:443", ("tcp", "0.0.0.0", 443)),
        ("127.0.0.1", ("tcp", "127.0.0.1", 80)),
        ("127.0.0.1:8443", ("tcp", "127.0.0.1", 8443)),
        ("Localhost:443", ("tcp", "localhost", 443)),
        ("[::]:443", ("tcp", "::", 443)),
        ("[::1]", ("tcp", "::1", 80)),
        ("[0:0:0:0:0:0:0:1]:443", ("tcp", "::1", 443)),
        ("unix:/run/a.sock", ("unix", "/run/a.sock", 0)),
        ("UNIX:a:b", ("unix", "a:b", 0)),
        ("443 quic", ("udp", "0.0.0.0", 443)),
    ],
)
def test_sockets(said: str, socket: tuple[str, str, int]) -> None:
    """However a socket is written, it is the same one."""
    (listener,) = one_server(f"listen {said};").listeners
    assert listener.socket == socket
    assert listener.unix == (socket[0] == "unix")
    assert listener.setting
    assert listener.setting.name == "listen"


def test_port_ranges() -> None:
    """A range of ports is as many sockets."""
    server = one_server("listen 8000-8002; listen [::1]:1-2;")
    assert [listener.port for listener in server.listeners] == [8000, 8001, 8002, 1, 2]


@pytest.mark.process
@pytest.mark.parametrize(
    "said",
    [
        "0",
        "70000",
        "1-70000",
        "9-8",
        "a:b",
        "[::1",
        "[x]:1",
        ":80",
        "::1:80",
        "127.0.0.1:x",
        "[::1]:x",
        "[::1]443",
        "a:",
        "a/b",
    ],
)
def test_what_is_no_socket(tmp_path: Path, said: str) -> None:
    """What NGINX refuses to listen on is no listener; nor is the port 80 then."""
    assert one_server(f"listen {said};").listeners == ()
    assert not ask_nginx(tmp_path, f"events {{}} http {{ server {{ listen {said}; }} }}").taken


def test_no_listen() -> None:
    """An HTTP server without any ``listen`` has port 80; others have nothing."""
    (listener,) = one_server("").listeners
    assert (listener.socket, listener.setting, listener.tls) == (("tcp", "0.0.0.0", 80), None, False)
    assert one_server("", context="stream").listeners == ()
    assert one_server("listen 127.0.0.1;", context="stream").listeners == ()


@pytest.mark.parametrize(
    ("inside", "outside", "context", "tls"),
    [
        ("listen 443 ssl;", "", "http", True),
        ("listen 443 ssl;", "", "stream", True),
        ("listen 443 ssl;", "", "mail", True),
        ("listen 443 quic;", "", "http", True),
        ("listen 443;", "", "http", False),
        ("listen 443; ssl on;", "", "http", True),
        ("listen 443;", "ssl ON;", "http", True),
        ("ssl on;", "", "http", True),
        ("listen 443; ssl off;", "ssl on;", "http", False),
        ("listen 443 http2 proxy_protocol;", "", "http", False),
        ("listen 53 udp;", "", "stream", False),
        ("listen 25; starttls on;", "", "mail", True),
        ("listen 25;", "starttls only;", "mail", True),
        ("listen 25;", "starttls off;", "mail", False),
        ("listen 25; starttls on;", "", "http", False),
    ],
)
def test_tls(inside: str, outside: str, context: str, tls: bool) -> None:
    """TLS is a parameter of ``listen``, QUIC, the old ``ssl on``, or STARTTLS in ``mail``."""
    assert one_server(inside, outside, context).tls == tls


def test_mail_loads_only_for_tls() -> None:
    """In ``mail``, unlike elsewhere, NGINX loads no pair for a server without TLS, nor misses its key."""
    assert one_server(f"listen 25; {PAIR}", context="mail").pairs == ()
    assert one_server("listen 25; ssl_certificate a;", context="mail").faults == ()
    assert len(one_server(f"listen 25; starttls on; {PAIR}", context="mail").pairs) == 1
    assert len(one_server("listen 25 ssl; ssl_certificate a;", context="mail").faults) == 1


def test_parameters() -> None:
    """What a listener's parameters mean, among all that there may be."""
    server = one_server(
        "listen [::]:443 default_server ssl http2 proxy_protocol ipv6only=off; listen 80 default; listen 81;"
    )
    first, second, third = server.listeners
    assert first.parameters == ("default_server", "ssl", "http2", "proxy_protocol", "ipv6only=off")
    assert first.own == first.shared == {"ssl", "http2", "proxy_protocol"}
    assert (first.tls, first.proxy_protocol, first.default_server, first.udp) == (True, True, True, False)
    assert (second.default_server, third.default_server) == (True, False)
    assert (second.tls, second.proxy_protocol) == (False, False)


def test_shared_sockets() -> None:
    """What one server says of a socket holds for every server on it, of the same context and protocol."""
    configuration = understood(
        "http { server { listen 443; listen 8443; } server { listen *:443 ssl proxy_protocol; listen 8443 quic; } }"
        "stream { server { listen 443; } }"
    )
    first, second, stream = configuration.servers
    assert [listener.tls for listener in first.listeners] == [True, False]
    assert first.listeners[0].proxy_protocol
    assert first.listeners[0].own == frozenset()
    assert [listener.tls for listener in second.listeners] == [True, True]
    assert not stream.tls


def test_defaults() -> None:
    """A socket's default is the server that says so, and otherwise the first one on it."""
    configuration = understood(
        "http { server { server_name a; listen 80; listen 81; } server { server_name b; listen 80 default_server; }"
        " server { server_name c; listen 80; listen [::]:80; listen 80 default_server; } }"
    )
    defaults = {socket[1:]: server.names for (_, socket), server in configuration.defaults.items()}
    assert defaults == {("0.0.0.0", 80): ("b",), ("0.0.0.0", 81): ("a",), ("::", 80): ("c",)}
