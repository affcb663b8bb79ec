"""The stand-in CertMgr: a TLS server that picks certificates by SNI as Domino's TLS cache does.

A name is looked up exactly, then as a wildcard. For a name without a credential (unknown, archived, or not for this
server) the default certificate is presented, without an error. Everything can be changed while it runs.
"""

from __future__ import annotations

import functools
import random
import secrets
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from entrypoint.core.model import KeyType
from entrypoint.demo import faults, imposter, pki
from entrypoint.demo.faults import Deadline, Mode, Port

_CHALLENGES = "/.well-known/acme-challenge/"
_SELF_TEST = {"letsdebug-test": "DOMINO-ACME-PROTOCOL-CHALLENGE-DATA-OK"}


@dataclass(frozen=True, eq=False)
class Credential:
    """A TLS Credentials document: names, a key, and the chain, which is presented exactly as given.

    ``names`` may be Unicode and become A-labels; the chain's certificates may be given as DER and become certificates.
    The first one must belong to the key, otherwise ValueError: no server can complete a handshake without that.
    """

    names: tuple[str, ...]
    key: pki.PrivateKey = field(repr=False)
    chain: Sequence[bytes | x509.Certificate] = field(repr=False)
    servers_with_access: bool = True
    archived: bool = False

    def __post_init__(self) -> None:
        names = pki.ascii_names(self.names)
        chain = tuple(x509.load_der_x509_certificate(c) if isinstance(c, bytes) else c for c in self.chain)
        if not chain or pki.spki(chain[0].public_key()) != pki.spki(self.key.public_key()):
            raise ValueError(f"the first certificate for {names} does not belong to the key")
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "chain", chain)

    @property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        """The chain, leaf first."""
        return tuple(c for c in self.chain if isinstance(c, x509.Certificate))

    @property
    def ders(self) -> tuple[bytes, ...]:
        """The chain as DER, leaf first."""
        return tuple(c.public_bytes(serialization.Encoding.DER) for c in self.certificates)

    @property
    def key_type(self) -> KeyType:
        """The type of the key."""
        return pki.key_type_of(self.key)

    @property
    def loaded(self) -> bool:
        """Whether the TLS cache has loaded it."""
        return self.servers_with_access and not self.archived


@dataclass(frozen=True)
class Request:
    """One connection to the TLS port. ``key_types`` is None where no ClientHello came."""

    time: datetime
    sni: str | None
    key_types: frozenset[KeyType] | None
    mode: Mode
    default: bool  # whether the default certificate is the answer


class StandInCertMgr:
    """A CertMgr's TLS port, and its plain HTTP port where ``http_port`` is given (0: a free one).

    A context manager; ``start`` and ``stop`` may also be called in turn, and the ports stay the same. ``default`` is
    presented for names without a credential. All methods and attributes may be used while it runs, from any thread;
    they apply from the next connection on. ``on_event`` is called with a sentence for each request, from the
    connection's thread. ``drip_delay`` are seconds before each byte in mode "drip".
    """

    drip_delay = 0.0
    _mode = Mode.NORMAL
    _credentials: tuple[Credential, ...] = ()

    def __init__(  # noqa: PLR0913 - all but the first have defaults, and most go by keyword
        self,
        default: Credential | Sequence[Credential],
        credentials: Iterable[Credential] = (),
        *,
        tls: str = "1.2",
        host: str = "127.0.0.1",
        port: int = 0,
        http_port: int | None = None,
        on_event: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._default = (default,) if isinstance(default, Credential) else tuple(default)
        self._log: deque[Request] = deque(maxlen=100_000)
        self._lock = threading.Condition()
        self._stopped = threading.Event()
        self._on_event = on_event
        self._random = random.Random(0)  # noqa: S311 - the same garbage in each run, on purpose
        self._tls = tls
        self._front = self._choosing(_genuine)
        self._false_front = self._choosing(_forged)
        served = ((port, self._serve_tls), (http_port, self._serve_http))
        self._ports = [Port(host, number, serve) for number, serve in served if number is not None]
        self.challenges: dict[str, str] = {}
        for credential in credentials:
            self.put(credential)

    def start(self) -> None:
        """Listen. Raises OSError where a port is taken or forbidden; then none is open."""
        self._stopped.clear()
        try:
            for port in self._ports:
                port.open()
        except OSError:
            self.stop()
            raise

    def stop(self) -> None:
        """End all connections and free the ports."""
        self._stopped.set()
        for port in self._ports:
            port.close()

    def __enter__(self) -> StandInCertMgr:
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

    @property
    def mode(self) -> str:
        """The treatment of clients: one of ``faults.Mode``. Raises ValueError for another word."""
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        self._mode = Mode(mode)

    @property
    def log(self) -> tuple[Request, ...]:
        """The requests so far, oldest first, noted as soon as their ClientHello is read."""
        with self._lock:
            return tuple(self._log)

    def wait_for_requests(self, count: int, timeout: float = 10.0) -> bool:
        """Waits until the log holds so many requests; false where it does not within ``timeout`` seconds."""
        with self._lock:
            return self._lock.wait_for(lambda: len(self._log) >= count, timeout)

    def put(self, credential: Credential) -> None:
        """Add a credential, replacing those with the same names and key type. Raises ssl.SSLError if unusable."""
        _genuine(self._tls, (credential,))  # so that a fault shows here, and not in a handshake
        with self._lock:
            same = (set(credential.names), credential.key_type)
            others = (c for c in self._credentials if (set(c.names), c.key_type) != same)
            self._credentials = (*others, credential)

    def remove(self, names: str | Iterable[str]) -> None:
        """Delete the credentials that have one of the names. Raises LookupError where none has."""
        self._change(names, lambda _: None)

    def archive(self, names: str | Iterable[str]) -> None:
        """Archive a document, as a key rollover does with the old one: it is not loaded any more."""
        self._change(names, lambda credential: replace(credential, archived=True))

    def deny(self, names: str | Iterable[str]) -> None:
        """Remove this server from "Servers with access" of the credentials that have one of the names."""
        self._change(names, lambda credential: replace(credential, servers_with_access=False))

    def allow(self, names: str | Iterable[str]) -> None:
        """Add this server to "Servers with access" again."""
        self._change(names, lambda credential: replace(credential, servers_with_access=True))

    def _change(self, names: str | Iterable[str], change: Callable[[Credential], Credential | None]) -> None:
        wanted = set(pki.ascii_names(names))
        with self._lock:
            if not any(wanted & set(c.names) for c in self._credentials):
                raise LookupError(f"there is no credential for {', '.join(sorted(wanted))}")
            changed = (change(c) if wanted & set(c.names) else c for c in self._credentials)
            self._credentials = tuple(c for c in changed if c)

    def _find(self, sni: str | None) -> tuple[Credential, ...]:
        """The credentials for a name, one for each key type; empty where the default is presented."""
        name, known = (sni or "").lower().rstrip("."), self._credentials
        for wanted in (name, "*." + name.partition(".")[2]):
            if found := {c.key_type: c for c in known if c.loaded and wanted in c.names}:
                return tuple(found.values())
        return ()

    def _choosing(self, make: Callable[[str, tuple[Credential, ...]], ssl.SSLContext]) -> ssl.SSLContext:
        """A context whose SNI callback switches each client to the context of its credentials."""
        context_of = functools.lru_cache(maxsize=4096)(functools.partial(make, self._tls))

        def choose(tls: ssl.SSLObject, sni: str | None, _: ssl.SSLContext) -> None:
            tls.context = context_of(self._find(sni) or self._default)

        front = faults.server_context(self._tls)
        front.sni_callback = choose
        return front

    def _serve_tls(self, conn: socket.socket) -> None:
        """Serve one connection in the mode that holds at its beginning."""
        mode, deadline = self._mode, Deadline(faults.HANDSHAKE_SECONDS)
        received, hello = imposter.read_hello(conn, None if mode is Mode.HANG else deadline)
        self._note(hello, mode)
        if mode in faults.SOCKET_FAULTS:
            faults.SOCKET_FAULTS[mode](conn)
        elif mode is Mode.GARBAGE:
            faults.garbage(conn, self._random)
        elif hello and mode is Mode.MALFORMED_CERTIFICATE:
            imposter.play_malformed(conn, hello)
        else:
            self._answer(conn, received, deadline, mode)

    def _note(self, hello: imposter.ClientHello | None, mode: Mode) -> None:
        sni, offered = (hello.sni, hello.key_types) if hello else (None, None)
        request = Request(datetime.now(UTC), sni, offered, mode, default=not self._find(sni))
        with self._lock:
            self._log.append(request)
            self._lock.notify_all()
        usual = "the default certificate" if request.default else "its certificate"
        answer = usual if mode is Mode.NORMAL else f"a fault ({mode})"
        kinds = " or ".join(sorted(offered or ())) or "no known key type"
        self._on_event(f"asked for {sni or 'no name'!r} by a client for {kinds}: {answer}")

    def _answer(self, conn: socket.socket, received: bytes, deadline: Deadline, mode: Mode) -> None:
        """Complete the handshake, and answer one HTTP request."""
        send: Callable[[bytes], object] = conn.sendall
        if mode is Mode.DRIP:
            send = functools.partial(faults.drip, conn, wait=lambda: self._stopped.wait(self.drip_delay))
        front = self._false_front if mode is Mode.IMPOSTER else self._front
        pipe = faults.TlsPipe(conn, front, received, deadline, send)
        pipe.run(pipe.tls.do_handshake)
        self._http(pipe.read, pipe.write)
        pipe.end()
        faults.finish(conn, deadline)

    def _serve_http(self, conn: socket.socket) -> None:
        deadline = Deadline(faults.HANDSHAKE_SECONDS)
        self._http(lambda: deadline.apply(conn).recv(4096), conn.sendall)
        faults.finish(conn, deadline)

    def _http(self, read: Callable[[], bytes], write: Callable[[bytes], object]) -> None:
        """Read one request and answer it."""
        method, path = faults.read_request(read)
        status, text = self._page(path)
        self._on_event(f"{method[:16]!a} {path[:200]!a}: {status}")
        write(faults.http_answer(status, text, body=method != "HEAD"))

    def _page(self, path: str) -> tuple[str, str]:
        """The status and text for a path."""
        if not path.startswith(_CHALLENGES):
            return "404 Not Found", "This is a stand-in for Domino CertMgr."
        text = {**self.challenges, **_SELF_TEST}.get(path.removeprefix(_CHALLENGES))
        return ("200 OK", text) if text else ("404 Not Found", "Challenge NOT found")


def _genuine(tls: str, credentials: tuple[Credential, ...]) -> ssl.SSLContext:
    """A context with the credentials: one chain for each key type."""
    password = secrets.token_hex(32)
    pairs = ((c.certificates, pki.encrypted_pem(c.key, password.encode()), password) for c in credentials)
    return faults.server_context(tls, *pairs)


def _forged(tls: str, credentials: tuple[Credential, ...]) -> ssl.SSLContext:
    """A context with the same chains and foreign keys."""
    pairs = ((c.certificates, imposter.forged_pem(c.certificates[0]), None) for c in credentials)
    return faults.server_context(tls, *pairs)
