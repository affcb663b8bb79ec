"""The ``listen`` directive: a server's sockets, told apart as NGINX does (ngx_parse_url, ngx_http_core_listen)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address

from entrypoint.core.conf.includes import Setting

_HTTP_PORT = 80
_UNIX = "unix:"
_ADDRESS = re.compile(r"(\[[^\]]*\]|[^:\[\]/?]*)(?::(.*))?", re.DOTALL)
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
# What one server says of a socket holds for all servers on it.
_SHARED = frozenset({"http2", "proxy_protocol", "ssl"})
_SSL = frozenset({"ssl"})
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - NGINX listens on all addresses there, not we

Socket = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that a server listens on.

    ``address`` is an IP address in its shortest form (``0.0.0.0`` and ``::`` are all), a host name, which NGINX
    resolves at its start, or the path of a UNIX socket, with port 0. ``setting`` is None where an HTTP server has no
    ``listen``: then NGINX takes port 80 (8000 where it is not root). ``own`` has the parameters among ``ssl``,
    ``http2`` and ``proxy_protocol`` that this server sets, ``shared`` those that any server on the same socket sets:
    they hold for all.
    """

    address: str
    port: int
    parameters: tuple[str, ...] = ()
    setting: Setting | None = None
    own: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()

    @property
    def unix(self) -> bool:
        """Whether it is a UNIX socket."""
        return self.port == 0

    @property
    def udp(self) -> bool:
        """Whether it receives datagrams: QUIC, or any other protocol over UDP in ``stream``."""
        return "quic" in self.parameters or "udp" in self.parameters

    @property
    def tls(self) -> bool:
        """Whether connections begin with a TLS handshake (QUIC's included), whichever server asks for it."""
        return "ssl" in self.shared or "quic" in self.parameters

    @property
    def proxy_protocol(self) -> bool:
        """Whether a connection must begin with the PROXY protocol's header."""
        return "proxy_protocol" in self.shared

    @property
    def default_server(self) -> bool:
        """Whether this server is declared as the socket's default server."""
        return "default_server" in self.parameters or "default" in self.parameters

    @property
    def said(self) -> frozenset[str]:
        """The parameters that this server sets for the socket; some may be set by one server only, and hold for all."""
        return frozenset("default_server" if word == "default" else word for word in (*self.parameters, *self.own))

    @property
    def socket(self) -> Socket:
        """The identity of the socket within a context: protocol, address and port."""
        return ("unix" if self.unix else "udp" if self.udp else "tcp", self.address, self.port)


def listeners(settings: Iterable[Setting], *, http: bool, ssl: bool) -> tuple[Listener, ...]:
    """The sockets of a server, from the settings in its block. Parameters that NGINX refuses are ignored.

    ``ssl`` is the value of the server's ``ssl`` directive, which NGINX had until 1.25.1. ``shared`` is left empty.
    """
    found = [setting for setting in settings if setting.name == "listen" and setting.words]
    if not found and http:
        return (Listener("0.0.0.0", _HTTP_PORT, own=_SSL if ssl else frozenset()),)  # noqa: S104 - NGINX binds, not we
    sockets = (_sockets(setting, _HTTP_PORT if http else None) for setting in found)
    return tuple(replace(socket, own=socket.own | _SSL) if ssl else socket for some in sockets for socket in some)


def _sockets(setting: Setting, default_port: int | None) -> Iterator[Listener]:
    parameters = tuple(word.value for word in setting.words[1:])
    own = _SHARED.intersection(parameters)
    if setting.value.lower().startswith(_UNIX):
        yield Listener(setting.value[len(_UNIX) :], 0, parameters, setting, own)
        return
    host, ports = ("*", setting.value) if _PORTS.fullmatch(setting.value) else _split(setting.value)
    address = _address(host)
    for port in _ports(ports, default_port) if address else ():
        yield Listener(address, port, parameters, setting, own)


def _split(text: str) -> tuple[str, str | None]:
    """The address as written, empty where there is none, and the ports, if any."""
    match = _ADDRESS.fullmatch(text)
    return (match[1], match[2]) if match else ("", None)


def _address(host: str) -> str:
    """The shortest form of an address; empty for none."""
    host = "0.0.0.0" if host == "*" else host.lower()  # noqa: S104 - likewise
    try:
        return str(ip_address(host.strip("[]")))
    except ValueError:
        return "" if host.startswith("[") else host


def _ports(text: str | None, default: int | None) -> range:
    match = _PORTS.fullmatch(str(default) if text is None else text)
    if not match:
        return range(0)
    first, last = int(match[1]), int(match[2] or match[1])
    return range(first, last + 1) if first >= 1 and last <= 65535 else range(0)
