"""The rendered copy of the user's configuration: every file, with the gated parts commented out.

A copy lies in the generation under ``source`` and its own path, the root file as ``nginx.conf``. Includes lead to the
copies, pairs to the generation's own files, and every other path relative to the configuration becomes absolute.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from entrypoint.core.conf.edit import CommentOut, Rendered, Replace, quote, render
from entrypoint.core.conf.includes import Place, Setting
from entrypoint.core.conf.paths import folder, full_name
from entrypoint.core.conf.servers import Server
from entrypoint.core.generation.catch_all import StandIn, at_line, stand_ins
from entrypoint.core.generation.gate import Gate
from entrypoint.core.generation.pairs import identity

Edit = Replace | CommentOut
FileEdit = tuple[str, Edit]  # a file, and what is to change in it
_FOLDER = "source"
_OURS = ("daemon", "master_process", "pid")
_STAND_INS = "stand-ins-{}.conf"
_MOST_COPIES = 2048
_UNTAKEN = "no server that runs takes it"
_SET_BY_US = "certfront sets it"


@dataclass(frozen=True)
class PairFiles:
    """A pair's files as the configuration names them, and the password file if the key needs one."""

    identity: str
    chain_file: str
    key_file: str
    password_file: str = ""


@dataclass(frozen=True)
class Copy:
    """The copies by their path in the generation, and for each the user's file and the line map."""

    texts: Mapping[str, str]
    origins: Mapping[str, tuple[str, Rendered]] = field(repr=False)
    stand_ins: Mapping[str, tuple[StandIn, ...]] = field(default_factory=dict, repr=False)

    def neighbours(self, path: str, line: int) -> tuple[Server, ...]:
        """The running servers on the socket of a stand-in, by a line of it."""
        found = at_line(self.stand_ins.get(path, ()), line)
        return found.neighbours if found else ()

    def origin(self, path: str, line: int) -> Place | None:
        """The user's file and line behind a line of a copy; None for certfront's own files."""
        if stand_in := at_line(self.stand_ins.get(path, ()), line):
            return stand_in.listen.file, stand_in.listen.directive.line
        if path not in self.origins:
            return None
        file, rendered = self.origins[path]
        return file, rendered.source_line(min(line, len(rendered.lines)))


class Copier:
    """The rendering of one configuration behind a ``gate``. ``pairs`` has the files of credentials, by identity.

    ``when`` is written above all gated parts.
    """

    def __init__(self, gate: Gate, pairs: Mapping[str, PairFiles], *, when: str = "") -> None:
        self.gate, self.pairs, self.when = gate, pairs, when
        self.user, self.configuration = gate.user, gate.user.configuration
        self.prefix = folder(self.user.root)

    def copy(self, *, http: str, main: str, keep_user: bool, edits: Iterable[FileEdit] = ()) -> Copy:
        """Copy all files. ``http`` is inserted at the end of the ``http`` block, ``main`` at the end of the root file.

        ``edits`` are additional edits.
        """
        found = stand_ins(self.gate)
        servers = (edit for server in self.configuration.servers for edit in self._server(server))
        blocks = (_out(block, self.gate.refusals.servers[block.place]) for block in self.gate.blocks)
        others = (*blocks, *self._faults(), *self._settings(), *self._main(keep_user=keep_user))
        added = self._put_in(http, main, found)
        by_file = _by_file((*servers, *others, *edits, *added), (*self._untaken(), *self._paths()))
        rendered = {file: self._rendered(file, by_file.get(file, ())) for file in self.configuration.files}
        texts = {self.path(file): copy.text for file, copy in rendered.items()}
        texts |= {_STAND_INS.format(context): "".join(each.text for each in some) for context, some in found.items()}
        origins = {self.path(file): (file, copy) for file, copy in rendered.items() if file in self.user.own}
        return Copy(texts, origins, {_STAND_INS.format(context): some for context, some in found.items()})

    def path(self, file: str) -> str:
        """The path of a file's copy in the generation."""
        return "nginx.conf" if file == self.user.root else _FOLDER + posixpath.normpath(file)

    def _rendered(self, file: str, edits: tuple[Edit, ...]) -> Rendered:
        text = self.user.texts[file]
        if reason := self.gate.file(file):
            return render(text, [CommentOut(0, len(text), reason)], self.when)
        return _rendered(text, edits, self.when if any(isinstance(edit, CommentOut) for edit in edits) else "")

    def _server(self, server: Server) -> Iterator[FileEdit]:
        """Edit a server: comment it out as a whole, or only some of its listeners and pairs."""
        lost, reason = self.gate.lost(server), self.gate.servers.get(server.place, "")
        if reason and len(lost) == len(server.listeners):
            yield _out(server.block, reason)
            return
        yield from (_out(listener.setting, reason) for listener in lost if listener.setting)
        usable = [(pair, files) for pair in server.pairs if (files := self.pairs.get(identity(pair)))]
        for pair, files in usable:
            yield from (_word(pair.certificate, files.chain_file), _word(pair.key, files.key_file))
        for pair in server.pairs:
            if identity(pair) not in self.pairs and (reason := self.gate.pending.get(identity(pair), "")):
                yield from (_out(pair.certificate, reason), _out(pair.key, reason))
        if path := next((files.password_file for _, files in usable if files.password_file), ""):
            yield from self._password_file(server, path, inherited=server.pairs[0].inherited)

    def _password_file(self, server: Server, path: str, *, inherited: bool) -> Iterator[FileEdit]:
        block = server.block.directive
        if server.password_file:
            yield _word(server.password_file, path)
        elif block.inside and not inherited:
            yield _put(server.block.file, block.inside[0], f" ssl_password_file {quote(path)};")
        if inherited:
            yield self._outer_password_file(server.context, path)

    def _outer_password_file(self, context: str, path: str) -> FileEdit:
        """Set the password file outside of servers, for all servers that load the pair, certfront's included."""
        level = self.configuration.levels[context]
        if known := level.get("ssl_password_file"):
            return _word(known[0], path)
        first = level["ssl_certificate"][0]
        return _put(first.file, first.directive.start, f"ssl_password_file {quote(path)}; ")

    def _untaken(self) -> Iterator[FileEdit]:
        """Comment out a certificate outside of servers that none of them uses: NGINX would load it for ours."""
        servers = self.configuration.servers
        running = (server for server in servers if server.tls and server.place not in self.gate.servers)
        taken = {pair.certificate.place for server in running for pair in server.pairs}
        pending = self.gate.pending
        reasons = {pair.certificate.place: pending.get(identity(pair)) for each in servers for pair in each.pairs}
        for context in ("http", "stream"):
            certificates = self.configuration.levels[context].get("ssl_certificate", ())
            for certificate in () if any(each.place in taken for each in certificates) else certificates:
                yield _out(certificate, reasons.get(certificate.place) or _UNTAKEN)

    def _faults(self) -> Iterator[FileEdit]:
        """Comment out an include that leads nowhere; within a server, the server is gated instead."""
        for fault in self.configuration.faults:
            last = fault.within[-1] if fault.within else None
            if last and last.name == "include" and fault.file not in self.user.broken:
                yield _out(last, str(fault))

    def _settings(self) -> Iterator[FileEdit]:
        settings = self.gate.refusals.settings
        for file, directive in self.user.directives() if settings else ():
            if reason := settings.get((file, directive.start)):
                yield file, CommentOut(directive.start, directive.end, reason)

    def _main(self, *, keep_user: bool) -> Iterator[FileEdit]:
        level = self.configuration.levels["main"]
        for name in _OURS if keep_user else (*_OURS, "user"):
            yield from (_out(setting, _SET_BY_US) for setting in level.get(name, ()))

    def _paths(self) -> Iterator[FileEdit]:
        for file, words in self.configuration.paths.items():
            for path in words:
                value = path.word.value
                full = full_name(value, self.prefix)
                if path.directive.name == "include":
                    full = _FOLDER + posixpath.normpath(full)
                if full != value:
                    yield file, Replace(path.word.start, path.word.end, quote(full))

    def _put_in(self, http: str, main: str, contexts: Iterable[str]) -> Iterator[FileEdit]:
        added = {context: f"    include {_STAND_INS.format(context)};\n" for context in contexts}
        added["http"] = http + added.get("http", "")
        for context, text in added.items():
            if end := self.configuration.ends.get(context):
                yield _put(*end, f"\n{text}")
            else:
                main = f"{context} {{\n{text}}}\n{main}"
        root = self.user.root
        yield _put(root, len(self.user.texts[root]), f"\n{main}")


def _out(setting: Setting, reason: str) -> FileEdit:
    return setting.file, CommentOut(setting.directive.start, setting.directive.end, reason)


def _word(setting: Setting, value: str) -> FileEdit:
    word = setting.words[0]
    return setting.file, Replace(word.start, word.end, quote(value))


def _put(file: str, at: int, text: str) -> FileEdit:
    return file, Replace(at, at, text)


def _by_file(edits: Iterable[FileEdit], otherwise: Iterable[FileEdit]) -> Mapping[str, tuple[Edit, ...]]:
    """The edits of each file, at most one of a kind for a span.

    Only servers' ``edits`` can coincide, in a file that several servers include: the first server's counts. The edits
    ``otherwise`` apply to spans without another edit. All insertions at one place are kept.
    """
    found: dict[str, dict[object, Edit]] = {}
    for file, edit in (*edits, *otherwise):
        key = edit if edit.start == edit.end else (edit.start, edit.end, type(edit))
        found.setdefault(file, {}).setdefault(key, edit)
    return {file: tuple(some.values()) for file, some in found.items()}


@lru_cache(maxsize=_MOST_COPIES)
def _rendered(text: str, edits: tuple[Edit, ...], when: str) -> Rendered:
    """The rendered text, cached, as most files are equal in consecutive generations."""
    return render(text, edits, when)
