"""The rendered copy of the user's configuration: every file of it, with what cannot run commented out.

A copy lies in the generation under ``source`` and its own path, the root file as ``nginx.conf``. Includes lead to the
copies, pairs to the generation's own, and every other path that NGINX takes relative to its configuration is absolute.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from entrypoint.core.conf.configuration import Source
from entrypoint.core.conf.edit import CommentOut, Rendered, Replace, quote, render
from entrypoint.core.conf.includes import Place, Setting
from entrypoint.core.conf.listen import Listener
from entrypoint.core.conf.paths import folder, full_name
from entrypoint.core.conf.servers import Server
from entrypoint.core.conf.syntax import Parsed, attempt, walk
from entrypoint.core.generation.catch_all import StandIn, at_line, stand_ins
from entrypoint.core.generation.gate import Gates, Reasons, blocked_servers, lost_listeners, refused_blocks
from entrypoint.core.generation.pairs import identity

Edit = Replace | CommentOut
_FOLDER = "source"
_OURS = ("daemon", "master_process", "pid")
_STAND_INS = "stand-ins-{}.conf"
_MOST_COPIES = 2048
_UNTAKEN = "no server that runs takes it"
_SET_BY_US = "certfront sets it"


@dataclass(frozen=True)
class Pair:
    """A pair's files as the configuration names them, and the password file if the key needs one."""

    identity: str
    chain_file: str
    key_file: str
    password_file: str = ""


@dataclass(frozen=True)
class Copy:
    """The copies by their path in the generation, and for each the user's file and the way back to its lines."""

    texts: Mapping[str, str]
    origins: Mapping[str, tuple[str, Rendered]] = field(repr=False)
    stand_ins: Mapping[str, tuple[StandIn, ...]] = field(default_factory=dict, repr=False)

    def neighbours(self, path: str, line: int) -> tuple[Server, ...]:
        """The servers that a stand-in is for, by a line of it."""
        found = at_line(self.stand_ins.get(path, ()), line)
        return found.neighbours if found else ()

    def origin(self, path: str, line: int) -> Place | None:
        """The user's file and line that a line of a copy comes from; None for a file that is certfront's own."""
        if stand_in := at_line(self.stand_ins.get(path, ()), line):
            return stand_in.listen.file, stand_in.listen.directive.line
        if path not in self.origins:
            return None
        file, rendered = self.origins[path]
        return file, rendered.source_line(min(line, len(rendered.lines)))


class Copier:
    """Copies one configuration. ``pairs`` by identity, ``blocked`` those that are not usable with the reason.

    ``when`` is said above everything that is commented out.
    """

    def __init__(
        self,
        source: Source,
        pairs: Mapping[str, Pair],
        blocked: Reasons,
        gates: Gates,
        *,
        when: str = "",
    ) -> None:
        self.source, self.pairs, self.blocked, self.gates, self.when = source, pairs, blocked, gates, when
        self.configuration = source.configuration
        self.prefix = folder(source.root)
        self.gone = blocked_servers(source, blocked, gates)
        self.lost: list[tuple[Server, Listener]] = []
        self.staying: list[tuple[Server, Listener]] = []
        self.edits: dict[str, dict[tuple[int, int, bool], Edit]] = {}

    def copy(self, *, http: str, main: str, keep_user: bool, edits: Iterable[tuple[str, Edit]] = ()) -> Copy:
        """Copy all files. ``http`` is put in at the end of the ``http`` block, ``main`` behind everything.

        ``edits`` are what else is to change, each with its file.
        """
        self._servers()
        self._faults()
        self._settings()
        self._main(keep_user=keep_user)
        self._paths()
        for file, edit in edits:
            self._edit(file, edit)
        found = stand_ins(self.source, self.staying, self.lost)
        self._put_in(http, main, found)
        rendered = {file: self._rendered(file) for file in self.configuration.files}
        texts = {self.path(file): copy.text for file, copy in rendered.items()}
        texts |= {_STAND_INS.format(context): "".join(each.text for each in some) for context, some in found.items()}
        origins = {self.path(file): (file, copy) for file, copy in rendered.items()}
        return Copy(texts, origins, {_STAND_INS.format(context): some for context, some in found.items()})

    def path(self, file: str) -> str:
        """Where a file's copy lies in the generation."""
        return "nginx.conf" if file == self.source.root else _FOLDER + posixpath.normpath(file)

    def _edit(self, file: str, edit: Edit) -> None:
        self.edits.setdefault(file, {}).setdefault((edit.start, edit.end, isinstance(edit, Replace)), edit)

    def _out(self, setting: Setting, reason: str) -> None:
        self._edit(setting.file, CommentOut(setting.directive.start, setting.directive.end, reason))

    def _rendered(self, file: str) -> Rendered:
        text = self.source.texts[file]
        if reason := self.gates.files.get(file) or str(self.source.broken.get(file) or ""):
            return render(text, [CommentOut(0, len(text), reason)], self.when)
        edits = tuple(self.edits.get(file, {}).values())
        return _rendered(text, edits, self.when if any(isinstance(edit, CommentOut) for edit in edits) else "")

    def _servers(self) -> None:
        for server in self.configuration.servers:
            lost = lost_listeners(server, self.gone, self.gates)
            self.lost += [(server, listener) for listener in lost]
            self.staying += [(server, listener) for listener in server.listeners if listener not in lost]
            if server.place in self.gone and len(lost) == len(server.listeners):
                self._out(server.block, self.gone[server.place])
            else:
                self._without(server, lost)
        for block in refused_blocks(self.configuration, self.gates):
            self._out(block, self.gates.servers[block.place])
        self._outer_certificates()

    def _outer_certificates(self) -> None:
        """One outside of servers that no TLS server which runs takes goes: NGINX would load it for ours as well."""
        servers = self.configuration.servers
        running = (server for server in servers if server.tls and server.place not in self.gone)
        taken = {pair.certificate.place for server in running for pair in server.pairs}
        reasons = {pair.certificate.place: self.blocked.get(identity(pair)) for each in servers for pair in each.pairs}
        for context in ("http", "stream"):
            certificates = self.configuration.levels[context].get("ssl_certificate", ())
            for certificate in () if any(each.place in taken for each in certificates) else certificates:
                self._out(certificate, reasons.get(certificate.place) or _UNTAKEN)

    def _without(self, server: Server, lost: Iterable[Listener]) -> None:
        for listener in lost:
            if listener.setting:
                self._out(listener.setting, self.gone[server.place])
        self._pairs(server)

    def _pairs(self, server: Server) -> None:
        passwords = ""
        for pair in server.pairs:
            found = self.pairs.get(identity(pair))
            if found:
                self._word(pair.certificate, found.chain_file)
                self._word(pair.key, found.key_file)
                passwords = passwords or found.password_file
                if pair.inherited and found.password_file:
                    self._outer_password_file(server.context, found.password_file)
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
        elif server.block.directive.inside and not server.pairs[0].inherited:
            start = server.block.directive.inside[0]
            self._edit(server.block.file, Replace(start, start, f" ssl_password_file {quote(path)};"))

    def _outer_password_file(self, context: str, path: str) -> None:
        """Outside of servers, for all that NGINX loads the pair for, ours among them."""
        level = self.configuration.levels[context]
        if known := level.get("ssl_password_file"):
            self._word(known[0], path)
        else:
            first = level["ssl_certificate"][0]
            start = first.directive.start
            self._edit(first.file, Replace(start, start, f"ssl_password_file {quote(path)}; "))

    def _faults(self) -> None:
        """An include that leads nowhere is commented out; within a server, the server is."""
        for fault in self.configuration.faults:
            last = fault.within[-1] if fault.within else None
            if last and last.name == "include" and fault.file not in self.source.broken:
                self._out(last, str(fault))

    def _settings(self) -> None:
        for file in {file for file, _ in self.gates.settings}:
            parsed = attempt(self.source.texts.get(file, ""))
            for directive in walk(parsed.directives) if isinstance(parsed, Parsed) else ():
                if reason := self.gates.settings.get((file, directive.start)):
                    self._edit(file, CommentOut(directive.start, directive.end, reason))

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

    def _put_in(self, http: str, main: str, contexts: Iterable[str]) -> None:
        added = {context: f"    include {_STAND_INS.format(context)};\n" for context in contexts}
        added["http"] = http + added.get("http", "")
        for context, text in added.items():
            if end := self.configuration.ends.get(context):
                self._edit(end[0], Replace(end[1], end[1], f"\n{text}"))
            else:
                main = f"{context} {{\n{text}}}\n{main}"
        root = self.source.root
        length = len(self.source.texts[root])
        self._edit(root, Replace(length, length, f"\n{main}"))


@lru_cache(maxsize=_MOST_COPIES)
def _rendered(text: str, edits: tuple[Edit, ...], when: str) -> Rendered:
    """From one generation to the next most files stay as they are."""
    return render(text, edits, when)
