"""The rendered copy of the user's configuration: every file of it, with what cannot run commented out.

A copy lies in the generation under ``source`` and its own path, the root file as ``nginx.conf``. Includes lead to the
copies, pairs to the generation's own, and every other path that NGINX takes relative to its configuration is absolute.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from entrypoint.core.configuration import Configuration
from entrypoint.core.edit import CommentOut, Rendered, Replace, quote, render
from entrypoint.core.paths import folder, full_name
from entrypoint.core.servers import Server, defaults, stranded
from entrypoint.core.syntax import SyntaxFault
from entrypoint.core.tree import Fault, Place, Setting
from entrypoint.core.wanted import cared_for, identity

Edit = Replace | CommentOut
_FOLDER = "source"
_OURS = ("daemon", "master_process", "pid")
_SET_BY_US = "certfront sets it"


@dataclass(frozen=True)
class Source:
    """The user's configuration as read: texts by absolute path, what is wrong with them, and what they mean."""

    root: str
    texts: Mapping[str, str] = field(repr=False)
    broken: Mapping[str, SyntaxFault]
    configuration: Configuration = field(repr=False)


@dataclass(frozen=True)
class Pair:
    """A pair's files as the configuration names them, and the password file if the key needs one."""

    identity: str
    chain_file: str
    key_file: str
    password_file: str = ""


@dataclass(frozen=True)
class Gates:
    """What NGINX refused: servers and other blocks by their place, and whole files, each with the reason."""

    servers: Mapping[Place, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Gates:
        """What `as_json` gave."""
        servers = {(file, start): reason for file, start, reason in value.get("servers", ())}
        return cls(servers, dict(value.get("files", {})))

    def as_json(self) -> dict[str, Any]:
        """For a manifest."""
        return {"servers": [[*place, reason] for place, reason in self.servers.items()], "files": dict(self.files)}

    def __bool__(self) -> bool:
        return bool(self.servers or self.files)


@dataclass(frozen=True)
class Copy:
    """The copies by their path in the generation, and for each the user's file and the way back to its lines."""

    texts: Mapping[str, str]
    origins: Mapping[str, tuple[str, Rendered]] = field(repr=False)

    def origin(self, path: str, line: int) -> Place | None:
        """The user's file and line that a line of a copy comes from; None for a file that is certfront's own."""
        if path not in self.origins:
            return None
        file, rendered = self.origins[path]
        return file, rendered.source_line(min(line, len(rendered.lines)))


def blocked_servers(source: Source, blocked: Mapping[str, str], gates: Gates) -> dict[Place, str]:
    """The servers that do not run, with the reason: a fault in them, NGINX's refusal, or no pair that is usable."""
    found: dict[Place, str] = {}
    for server in source.configuration.servers:
        if reason := _why_not(server, blocked, gates):
            found.setdefault(server.place, reason)
    while bare := dict(_left_bare(source.configuration, found)):
        found |= bare
    return found


def _left_bare(configuration: Configuration, gone: Mapping[Place, str]) -> Iterator[tuple[Place, str]]:
    """Servers that present the pair of their socket's default server, which is gone, and would take its place."""
    for socket, server in defaults(server for server in configuration.servers if server.place not in gone).items():
        first = configuration.defaults[socket].place
        tls = any(listener.tls for listener in server.listeners if (server.context, listener.socket) == socket)
        if tls and first in gone and not (server.pairs or server.rejects_handshake):
            yield server.place, gone[first]


def _why_not(server: Server, blocked: Mapping[str, str], gates: Gates) -> str:
    if server.place in gates.servers:
        return gates.servers[server.place]
    if server.faults:
        return _words(server.faults[0])
    identities = [identity(pair) for pair in cared_for(server)]
    reasons = [blocked[each] for each in identities if each in blocked]
    return "; ".join(dict.fromkeys(reasons)) or "-" if identities and len(reasons) == len(identities) else ""


def refused_blocks(configuration: Configuration, gates: Gates) -> Iterator[Setting]:
    """The other blocks that NGINX refused, an ``upstream`` for one; then it names the servers that need it, too."""
    for name in ("http", "stream", "mail"):
        for setting in (each for group in configuration.levels[name].values() for each in group):
            if setting.place in gates.servers and setting.name != "server":
                yield setting


def _speaks_http(server: Server) -> bool:
    return server.context == "http" and any(not listener.tls for listener in server.listeners)


def _words(fault: Fault) -> str:
    return f"{fault.message} in {fault.file}:{fault.line}"


class Copier:
    """Copies one configuration. ``pairs`` by identity, ``blocked`` those without a usable pair with the reason.

    ``when`` is said above everything that is commented out.
    """

    def __init__(
        self,
        source: Source,
        pairs: Mapping[str, Pair],
        blocked: Mapping[str, str],
        gates: Gates,
        *,
        when: str = "",
    ) -> None:
        self.source, self.pairs, self.blocked, self.gates, self.when = source, pairs, blocked, gates, when
        self.configuration = source.configuration
        self.prefix = folder(source.root)
        self.gone = blocked_servers(source, blocked, gates)
        self.edits: dict[str, dict[tuple[int, int, bool], Edit]] = {}

    def copy(self, *, http: str, main: str, keep_user: bool) -> Copy:
        """Copy all files. ``http`` is put in at the end of the ``http`` block, ``main`` behind everything."""
        self._servers()
        self._faults()
        self._main(keep_user=keep_user)
        self._paths()
        self._add_listen_parameters()
        self._put_in(http, main)
        rendered = {file: self._rendered(file) for file in self.configuration.files}
        texts = {self.path(file): copy.text for file, copy in rendered.items()}
        return Copy(texts, {self.path(file): (file, copy) for file, copy in rendered.items()})

    def path(self, file: str) -> str:
        """Where a file's copy lies in the generation."""
        return "nginx.conf" if file == self.source.root else _FOLDER + posixpath.normpath(file)

    def _edit(self, file: str, edit: Edit) -> None:
        self.edits.setdefault(file, {}).setdefault((edit.start, edit.end, isinstance(edit, Replace)), edit)

    def _out(self, setting: Setting, reason: str) -> None:
        self._edit(setting.file, CommentOut(setting.directive.start, setting.directive.end, reason))

    def _rendered(self, file: str) -> Rendered:
        text = self.source.texts[file]
        fault = self.source.broken.get(file)
        if reason := self.gates.files.get(file) or (fault and f"{fault.message} in {file}:{fault.line}"):
            return render(text, [CommentOut(0, len(text), reason)], self.when)
        return render(text, self.edits.get(file, {}).values(), self.when)

    def _servers(self) -> None:
        for server in self.configuration.servers:
            reason = self.gone.get(server.place)
            if reason is None:
                self._pairs(server)
            elif server.place in self.gates.servers or server.faults or not _speaks_http(server):
                self._out(server.block, reason)
            else:
                self._without_tls(server, reason)
        for block in refused_blocks(self.configuration, self.gates):
            self._out(block, self.gates.servers[block.place])

    def _without_tls(self, server: Server, reason: str) -> None:
        """A server that listens without TLS too goes on there: plain HTTP never waits for a certificate."""
        for listener in server.listeners:
            if listener.tls and listener.setting:
                self._out(listener.setting, reason)
        self._pairs(server)

    def _pairs(self, server: Server) -> None:
        passwords = ""
        for pair in server.pairs:
            found = self.pairs.get(identity(pair))
            if found:
                self._word(pair.certificate, found.chain_file)
                self._word(pair.key, found.key_file)
                passwords = passwords or found.password_file
            elif reason := self.blocked.get(identity(pair)):
                self._out(pair.certificate, reason)
                self._out(pair.key, reason)
        if passwords:
            self._password_file(server, passwords)

    def _word(self, setting: Setting, value: str) -> None:
        word = setting.words[0]
        self._edit(setting.file, Replace(word.start, word.end, quote(value)))

    def _password_file(self, server: Server, path: str) -> None:
        if server.password_file:
            self._word(server.password_file, path)
        elif server.block.directive.inside:
            start = server.block.directive.inside[0]
            self._edit(server.block.file, Replace(start, start, f" ssl_password_file {quote(path)};"))

    def _faults(self) -> None:
        """An include that leads nowhere is commented out; within a server, the server is."""
        for fault in self.configuration.faults:
            last = fault.within[-1] if fault.within else None
            if last and last.name == "include" and fault.file not in self.source.broken:
                self._out(last, _words(fault))

    def _main(self, *, keep_user: bool) -> None:
        level = self.configuration.levels["main"]
        for name in _OURS if keep_user else (*_OURS, "user"):
            for setting in level.get(name, ()):
                self._out(setting, _SET_BY_US)

    def _paths(self) -> None:
        for file, words in self.configuration.paths.items():
            for path in words:
                value = path.word.value
                full = full_name(value, self.prefix)
                if path.directive.name == "include":
                    full = _FOLDER + posixpath.normpath(full)
                if full != value:
                    self._edit(file, Replace(path.word.start, path.word.end, quote(full)))

    def _add_listen_parameters(self) -> None:
        for setting, parameters in stranded(self.configuration.servers, self.gone):
            end = setting.words[-1].end
            self._edit(setting.file, Replace(end, end, "".join(f" {parameter}" for parameter in parameters)))

    def _put_in(self, http: str, main: str) -> None:
        root, end = self.source.root, self.configuration.http_end
        if end:
            self._edit(end[0], Replace(end[1], end[1], f"\n{http}"))
        else:
            main = f"http {{\n{http}}}\n{main}"
        length = len(self.source.texts[root])
        self._edit(root, Replace(length, length, f"\n{main}"))


def commented_out(source: Source, blocked: Mapping[str, str], gates: Gates) -> Iterator[tuple[str, str]]:
    """What does not run, for people: where it is written, and why."""
    lines = {server.place: server.block.directive.line for server in source.configuration.servers}
    for place, reason in blocked_servers(source, blocked, gates).items():
        yield f"{place[0]}:{lines[place]}", reason
    for block in refused_blocks(source.configuration, gates):
        yield f"{block.file}:{block.directive.line}", gates.servers[block.place]
    for file, fault in source.broken.items():
        yield file, f"{fault.message} in {file}:{fault.line}"
    yield from gates.files.items()


def user_directives(source: Source | None, level: str) -> Iterable[str]:
    """The directives that the user has set at a level, which certfront must not set again."""
    return source.configuration.levels.get(level, {}) if source else ()
