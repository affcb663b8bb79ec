"""The stand-in CertMgr: a TLS server that picks certificates by SNI as Domino's TLS cache does.

A name is looked up exactly, then as a wildcard. For a name without a credential, the default certificate is presented,
without an error. Everything can be changed while it runs.
"""

from __future__ import annotations

import functools
import secrets
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from cryptography import x509

from entrypoint.core.model import KeyType
from entrypoint.demo import listener, pki
from entrypoint.demo.client_hello import ClientHello, read_hello
from entrypoint.demo.listener import HANDSHAKE_SECONDS, Deadline, Port, TlsPipe

_CHALLENGES = "/.well-known/acme-challenge/"
_SELF_TEST = {"letsdebug-test": "DOMINO-ACME-PROTOCOL-CHALLENGE-DATA-OK"}


@dataclass(frozen=True, eq=False)
class Credential:
    """A TLS Credentials document: names, a key, and the chain, which is presented exactly as given.

    ``names`` may be Unicode and become A-labels. The chain's first certificate must belong to the key, otherwise
    ValueError: no server can complete a handshake without that.
    """

    names: tuple[str, ...]
    key: pki.PrivateKey = field(repr=False)
    chain: Sequence[x509.Certificate] = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(map(pki.ascii_name, self.names)))
        if not self.chain or self.chain[0].public_key() != self.key.public_key():
            raise ValueError(f"the first certificate for {self.names} does not belong to the key")

    @property
    def key_type(self) -> KeyType:
        """The type of the key."""
        return pki.key_type_of(self.key)


class StandInCertMgr:
    """A CertMgr's TLS port, and its plain HTTP port where ``http_port`` is given (0: a free one).

    A context manager; ``start`` and ``stop`` may also be called in turn, and the ports stay the same. ``default`` is
    presented for names without a credential. Changes apply from the next connection on. ``on_event`` is called with a
    sentence for each request, from the connection's thread. ``fronts`` are the contexts of all handshakes, by
    ``imposter``.
    """

    imposter = False
    """Whether it presents the right chains without their keys."""

    credentials: tuple[Credential, ...] = ()
    """All that it has; `put` replaces the tuple, which connections read at any time."""

    def __init__(
        self,
        *default: Credential,
        tls: str = "1.2",
        host: str = "127.0.0.1",
        port: int = 0,
        http_port: int | None = None,
        on_event: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._default = default
        self._on_event = on_event
        self._tls = tls
        self.fronts = {False: self._choosing(_genuine), True: self._choosing(_forged)}
        served = ((port, self.serve_tls), (http_port, self._serve_http))
        self._ports = [Port(host, number, serve) for number, serve in served if number is not None]
        self.challenges = dict(_SELF_TEST)

    def start(self) -> None:
        """Listen. Raises OSError where a port is taken or forbidden; then none is open."""
        try:
            for port in self._ports:
                port.open()
        except OSError:
            self.stop()
            raise

    def stop(self) -> None:
        """End all connections and free the ports."""
        for port in self._ports:
            port.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port for TLS."""
        return self._ports[0].address

    @property
    def http_address(self) -> tuple[str, int]:
        """Host and port for plain HTTP. Raises IndexError where no ``http_port`` was given."""
        return self._ports[1].address

    def put(self, credential: Credential) -> None:
        """Add a credential, replacing those with the same names and key type. Raises ssl.SSLError if unusable."""
        _genuine(self._tls, (credential,))  # so that a fault shows here, and not in a handshake
        same = (set(credential.names), credential.key_type)
        others = (c for c in self.credentials if (set(c.names), c.key_type) != same)
        self.credentials = (*others, credential)

    def find(self, sni: str | None) -> tuple[Credential, ...]:
        """The credentials for a name, one for each key type; empty where the default is presented."""
        name, known = (sni or "").lower().rstrip("."), self.credentials
        for wanted in (name, "*." + name.partition(".")[2]):
            if found := {c.key_type: c for c in known if wanted in c.names}:
                return tuple(found.values())
        return ()

    def _choosing(self, make: Callable[[str, tuple[Credential, ...]], ssl.SSLContext]) -> ssl.SSLContext:
        """A context whose SNI callback switches each client to the context of its credentials."""
        context_of = functools.lru_cache(maxsize=4096)(functools.partial(make, self._tls))

        def choose(tls: ssl.SSLObject, sni: str | None, _: ssl.SSLContext) -> None:
            tls.context = context_of(self.find(sni) or self._default)

        front = listener.server_context(self._tls)
        front.sni_callback = choose
        return front

    def serve_tls(self, conn: socket.socket) -> None:
        """Serve one connection to the TLS port."""
        front, deadline = self.fronts[self.imposter], Deadline(HANDSHAKE_SECONDS)
        received, hello = read_hello(conn, deadline)
        self.tell(hello)
        self.answer(TlsPipe(conn, front, received, deadline))

    def tell(self, hello: ClientHello | None) -> None:
        """Tell what a client asks for; None where that is no ClientHello."""
        sni, offered = (hello.sni, hello.key_types) if hello else (None, ())
        answer = "its certificate" if self.find(sni) else "the default certificate"
        kinds = " or ".join(sorted(offered)) or "no known key type"
        self._on_event(f"asked for {sni or 'no name'!r} by a client for {kinds}: {answer}")

    def answer(self, pipe: TlsPipe) -> None:
        """Complete the handshake, and answer one HTTP request."""
        pipe.run(pipe.tls.do_handshake)
        self._http(pipe.read, pipe.write)
        pipe.end()

    def _serve_http(self, conn: socket.socket) -> None:
        deadline = Deadline(HANDSHAKE_SECONDS)
        self._http(lambda: deadline.apply(conn).recv(4096), conn.sendall)
        listener.finish(conn, deadline)

    def _http(self, read: Callable[[], bytes], write: Callable[[bytes], object]) -> None:
        """Read one request and answer it."""
        method, path = listener.read_request(read)
        status, text = self._page(path)
        self._on_event(f"{method[:16]!a} {path[:200]!a}: {status}")
        write(listener.http_answer(status, text, body=method != "HEAD"))

    def _page(self, path: str) -> tuple[str, str]:
        """The status and text for a path."""
        if not path.startswith(_CHALLENGES):
            return "404 Not Found", "This is a stand-in for Domino CertMgr."
        text = self.challenges.get(path.removeprefix(_CHALLENGES))
        return ("200 OK", text) if text else ("404 Not Found", "Challenge NOT found")


def _genuine(tls: str, credentials: tuple[Credential, ...]) -> ssl.SSLContext:
    """A context with the credentials: one chain for each key type."""
    password = secrets.token_hex(32)
    pairs = ((c.chain, pki.encrypted_pem(c.key, password.encode()), password) for c in credentials)
    return listener.server_context(tls, *pairs)


def _forged(tls: str, credentials: tuple[Credential, ...]) -> ssl.SSLContext:
    """A context with the same chains and foreign keys."""
    return listener.server_context(tls, *((c.chain, pki.forged_pem(c.key), None) for c in credentials))
