"""The ``server`` blocks of the user's configuration: their listeners, names and pairs, and comments to certfront."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from entrypoint.core.conf.includes import Fault, Place, Setting
from entrypoint.core.conf.listen import Listener, Socket
from entrypoint.core.conf.paths import full_name
from entrypoint.core.conf.syntax import Parsed
from entrypoint.core.names import to_ascii

# A certificate or key that is no file: it stands there itself, or a library has it.
_NO_FILE = ("data:", "engine:", "store:")
# A rendered copy says what is "commented out", and may well have become a source again.
_NOTE = re.compile(r"#\s*certfront:(?!\s*commented out)(.*)")


@dataclass(frozen=True, slots=True)
class Pair:
    """An ``ssl_certificate`` and the ``ssl_certificate_key`` that NGINX combines with it.

    ``certificate_file`` and ``key_file`` are absolute; empty for data that is no file, or a name with a variable.
    ``inherited`` says that the certificate is set outside of the server, for all servers that set none.
    """

    certificate: Setting
    key: Setting
    certificate_file: str
    key_file: str
    inherited: bool

    @property
    def for_nginx_only(self) -> bool:
        """Whether only NGINX can resolve the file names."""
        return not (self.certificate_file and self.key_file)


@dataclass(frozen=True, slots=True)
class Server:
    """A ``server`` block.

    ``names`` are the arguments of ``server_name``, in lower case but for regular expressions, and ``hosts`` those of
    them that a certificate can hold. ``pairs`` are those that NGINX loads for the server, in NGINX's order; in ``http``
    and ``stream`` it does so for servers without TLS, too. ``starttls`` is of ``mail``. ``lookup`` and ``off`` come
    from comments to certfront in the block.
    """

    context: str
    block: Setting
    names: tuple[str, ...]
    hosts: tuple[str, ...]
    listeners: tuple[Listener, ...]
    pairs: tuple[Pair, ...]
    password_file: Setting | None
    rejects_handshake: bool
    starttls: bool
    lookup: str
    off: bool
    faults: tuple[Fault, ...]

    @property
    def place(self) -> Place:
        """The place of the block. A file that is included twice gives two servers with one place."""
        return self.block.place

    @property
    def where(self) -> str:
        """The same for people."""
        return self.block.where

    @property
    def tls(self) -> bool:
        """Whether clients connect by TLS or STARTTLS."""
        return self.starttls or any(listener.tls for listener in self.listeners)


def server_names(settings: Iterable[Setting]) -> tuple[str, ...]:
    """The arguments of all ``server_name`` settings in one list, as NGINX compares them."""
    words = (word.value for setting in settings for word in setting.words)
    return tuple(value if value.startswith("~") else value.lower() for value in words)


def hosts(names: Iterable[str]) -> tuple[str, ...]:
    """The names that a certificate can hold, in DNS form: ``.acme.io`` is ``acme.io`` and ``*.acme.io``."""
    return tuple(dict.fromkeys(host for name in names for host in _hosts(name)))


def _hosts(name: str) -> Iterator[str]:
    """The host names of a server name: none for ``~regex``, ``$variable``, ``acme.*`` and ``_``."""
    forms = (name[1:], f"*{name}") if name.startswith(".") else (name,)
    for form in forms if not name.startswith("~") and name else ():
        try:
            yield to_ascii(form)
        except ValueError:
            return


def pairs(
    certificates: Sequence[Setting], keys: Sequence[Setting], prefix: str, *, inherited: bool
) -> tuple[Pair, ...]:
    """The pairs, combined in their order as NGINX does; a surplus key or certificate is left out.

    ``prefix`` is the `folder` of the root file.
    """
    return tuple(
        Pair(certificate, key, _file(certificate, prefix), _file(key, prefix), inherited)
        for certificate, key in zip(certificates, keys, strict=False)
    )


def _file(setting: Setting, prefix: str) -> str:
    no_file = "$" in setting.value or setting.value.startswith(_NO_FILE)
    return "" if no_file else full_name(setting.value, prefix)


def together(servers: Sequence[Server]) -> tuple[Server, ...]:
    """The servers, with the parameters of the sockets that they share."""
    shared: defaultdict[tuple[str, Socket], frozenset[str]] = defaultdict(frozenset)
    for server, listener in _listening(servers):
        shared[server.context, listener.socket] |= listener.own
    return tuple(
        replace(
            server,
            listeners=tuple(replace(each, shared=shared[server.context, each.socket]) for each in server.listeners),
        )
        for server in servers
    )


def defaults(servers: Iterable[Server]) -> Mapping[tuple[str, Socket], Server]:
    """The default server of each context and socket: the first that is declared as such, or else the first."""
    found: dict[tuple[str, Socket], Server] = {}
    for server, listener in sorted(_listening(servers), key=lambda each: not each[1].default_server):
        found.setdefault((server.context, listener.socket), server)
    return found


def _listening(servers: Iterable[Server]) -> Iterator[tuple[Server, Listener]]:
    return ((server, listener) for server in servers for listener in server.listeners)


@dataclass(frozen=True, slots=True)
class Note:
    """The request in a comment: another lookup name, or ``off``; ``problem`` is the error in an invalid comment."""

    start: int
    line: int
    lookup: str = ""
    off: bool = False
    problem: str = ""


def notes(parsed: Parsed) -> Iterator[Note]:
    """The comments to certfront in a text, in order: ``# certfront: lookup=NAME`` and ``# certfront: off``."""
    for comment in parsed.comments:
        if match := _NOTE.fullmatch(comment.text):
            yield _note(Note(comment.start, comment.line), match[1].strip())


def _note(note: Note, text: str) -> Note:
    lookup = text.removeprefix("lookup=")
    if text == "off":
        return replace(note, off=True)
    if lookup == text:
        return replace(note, problem=f'certfront knows "lookup=NAME" and "off", not "{text}"')
    try:
        return replace(note, lookup=to_ascii(lookup))
    except ValueError as error:
        return replace(note, problem=f"lookup: {error}")
