"""The user's configuration as a whole: servers and their pairs, settings by level, and faults.

Most of what NGINX refuses is ignored here, and left to NGINX. A `Fault` is an error whose place NGINX would not name,
or a file that could not be read or parsed.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from entrypoint.core.conf.includes import Fault, Place, Setting, Tree, Unread
from entrypoint.core.conf.listen import Socket, listeners
from entrypoint.core.conf.paths import PathWord, folder, full_name
from entrypoint.core.conf.servers import Note, Server, defaults, hosts, notes, pairs, server_names, together
from entrypoint.core.conf.syntax import Directive, Parsed, SyntaxFault, attempt, walk

Settings = Mapping[str, tuple[Setting, ...]]

_CONTEXTS = ("http", "stream", "mail")
_LEVELS = ("events", *_CONTEXTS)
_PAIR = ("ssl_certificate", "ssl_certificate_key")


@dataclass(frozen=True, slots=True)
class Configuration:
    """The meaning of a configuration.

    ``files`` are all readable files that the root includes, itself first; ``blocks`` has the places of the blocks that
    include each. ``levels`` has the settings directly inside ``main``, ``events``, ``http``, ``stream`` and ``mail``,
    by name. ``paths`` are the paths in each file, in order. ``ends`` has the place of the ``}`` that ends the first
    block of each of these. ``defaults`` has the default server of each context and socket. ``warnings`` are comments to
    certfront without effect. ``left_out`` are the unreadable matches of a pattern, each with the reason.
    """

    files: tuple[str, ...]
    servers: tuple[Server, ...] = field(repr=False)
    levels: Mapping[str, Settings] = field(repr=False)
    paths: Mapping[str, tuple[PathWord, ...]] = field(repr=False)
    defaults: Mapping[tuple[str, Socket], Server] = field(repr=False)
    ends: Mapping[str, Place]
    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]
    blocks: Mapping[str, frozenset[Place]] = field(repr=False)
    left_out: Mapping[str, str]

    def servers_at(self, file: str, line: int) -> tuple[Server, ...]:
        """The servers whose block contains a line of a file, or else all servers that include the file."""
        own = tuple(server for server in self.servers if server.block.file == file and server.block.has_line(line))
        blocks = self.blocks.get(file, frozenset())
        return own or tuple(server for server in self.servers if server.place in blocks)

    @property
    def key_files(self) -> frozenset[str]:
        """The absolute paths of all keys in the configuration, whatever their purpose."""
        words = (each for some in self.paths.values() for each in some)
        keys = (each.word.value for each in words if each.directive.name.endswith("ssl_certificate_key"))
        return frozenset(full_name(key, folder(self.files[0])) for key in keys)

    def blocks_at(self, file: str, line: int) -> tuple[Setting, ...]:
        """The blocks directly inside ``http``, ``stream`` or ``mail`` (an ``upstream``, say) that contain a line."""
        settings = (setting for name in _CONTEXTS for group in self.levels[name].values() for setting in group)
        return tuple(each for each in settings if each.is_block and each.file == file and each.has_line(line))


@dataclass(frozen=True)
class UserConfig:
    """The user's configuration as read, or the ``packaged`` one where there is none.

    Texts are by absolute path, ``parsed`` are their trees, and ``configuration`` is their meaning.
    """

    root: str
    texts: Mapping[str, str] = field(repr=False)
    parsed: Mapping[str, Parsed | SyntaxFault] = field(repr=False, compare=False)
    configuration: Configuration = field(repr=False)
    matches: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)
    unread: Mapping[str, Unread] = field(default_factory=dict, repr=False)
    packaged: bool = False

    @cached_property
    def broken(self) -> Mapping[str, Fault]:
        """The syntax errors of the files that could not be parsed."""
        faults = ((path, fault) for path, fault in self.parsed.items() if isinstance(fault, SyntaxFault))
        return {path: Fault(path, fault.line, fault.message) for path, fault in faults}

    @property
    def own(self) -> Mapping[str, str]:
        """The texts of the user's own files, without the packaged ones."""
        return {} if self.packaged else self.texts

    def directives(self) -> Iterator[tuple[str, Directive]]:
        """All directives of the user's own files, each with its file."""
        for file in self.configuration.files if self.own else ():
            parsed = self.parsed[file]
            for directive in walk(parsed.directives) if isinstance(parsed, Parsed) else ():
                yield file, directive

    def as_json(self) -> dict[str, Any]:
        """The texts as JSON, for `stored`."""
        unread = {path: [each.reason, each.is_file] for path, each in self.unread.items()}
        matches = {pattern: list(paths) for pattern, paths in self.matches.items()}
        return {"root": self.root, "texts": dict(self.texts), "matches": matches, "unread": unread}

    def stored(self, data: bytes) -> UserConfig | None:
        """The configuration of `as_json`'s JSON, this one if it is the same; None for anything else."""
        try:
            found = json.loads(data)
            if found == self.as_json():
                return self
            unread = {path: Unread(reason, is_file) for path, (reason, is_file) in found["unread"].items()}
            return user_config(found["root"], found["texts"], found["matches"], unread)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


def user_config(
    root: str,
    texts: Mapping[str, str],
    matches: Mapping[str, Sequence[str]],
    unread: Mapping[str, Unread] | None = None,
    parsed: Mapping[str, Parsed | SyntaxFault] | None = None,
    *,
    packaged: bool = False,
) -> UserConfig:
    """A configuration from its texts; the module `includes` describes the other arguments."""
    parsed, unread = parsed or {path: attempt(text) for path, text in texts.items()}, unread or {}
    return UserConfig(root, texts, parsed, read(root, parsed, matches, unread), matches, unread, packaged)


def read(
    root: str,
    files: Mapping[str, Parsed | SyntaxFault],
    matches: Mapping[str, Sequence[str]],
    unread: Mapping[str, Unread] | None = None,
) -> Configuration:
    """The meaning of a configuration's files; the module `includes` describes the arguments."""
    return _Reader(Tree(root, files, matches, unread or {})).read()


class _Reader:
    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.prefix = folder(tree.root)
        self.survey = tree.survey()
        self.faults: defaultdict[Place, list[Fault]] = defaultdict(list)
        for fault in self.survey.faults:
            for setting in fault.within:
                self.faults[setting.place].append(fault)
        parsed = ((file, tree.files[file]) for file in self.survey.files)
        self.notes = {file: tuple(notes(text)) for file, text in parsed if isinstance(text, Parsed)}
        self.heeded: set[Place] = set()
        self.keyless: dict[Fault, None] = {}

    def read(self) -> Configuration:
        main = self.tree.main
        blocks = [setting for setting in main if setting.name in _LEVELS and setting.is_block]
        insides = [(block.name, self.tree.inside(block)) for block in blocks]
        levels = {name: _by_name(s for level, inside in insides if level == name for s in inside) for name in _LEVELS}
        servers = together([server for name, inside in insides for server in self._servers(name, inside)])
        return Configuration(
            files=self.survey.files,
            servers=servers,
            levels={"main": _by_name(main), **levels},
            paths=self.survey.paths,
            defaults=defaults(servers),
            ends={block.name: (block.file, block.directive.end - 1) for block in reversed(blocks)},
            faults=(*self.survey.faults, *self.keyless),
            warnings=tuple(self._warnings()),
            blocks=self.survey.blocks,
            left_out=self.survey.left_out,
        )

    def _servers(self, context: str, inside: tuple[Setting, ...]) -> Iterator[Server]:
        if context in _CONTEXTS:
            outer = _by_name(inside)
            for setting in outer.get("server", ()):
                if setting.is_block:
                    yield self._server(context, setting, outer)

    def _server(self, context: str, block: Setting, outer: Settings) -> Server:
        inside = self.tree.inside(block)
        own = _by_name(inside)
        effective = {**outer, **own}  # as NGINX merges: what is set in the server hides all of that name around it
        starttls = context == "mail" and _value(effective, "starttls") in ("on", "only")
        sockets = listeners(inside, http=context == "http", ssl=_value(effective, "ssl") == "on")
        loads = context != "mail" or starttls or any("ssl" in socket.own for socket in sockets)
        certificates, keys = (_with_one_word(effective, name) if loads else () for name in _PAIR)
        asked = tuple(self._heed(block, inside))
        names = server_names(own.get("server_name", ()))
        return Server(
            context=context,
            block=block,
            names=names,
            hosts=hosts(names),
            listeners=sockets,
            pairs=pairs(certificates, keys, self.prefix, inherited=_PAIR[0] not in own),
            password_file=next(iter(_with_one_word(effective, "ssl_password_file")), None),
            rejects_handshake=_value(effective, "ssl_reject_handshake") == "on",
            starttls=starttls,
            lookup=next((note.lookup for note in asked if note.lookup), ""),
            off=any(note.off for note in asked),
            faults=(*self.faults[block.place], *self._keyless(certificates[len(keys) :])),
        )

    def _keyless(self, certificates: Sequence[Setting]) -> Iterator[Fault]:
        """The fault of certificates without a key, which NGINX reports without a place, for the last one."""
        for last in certificates[-1:]:
            message = f'no "ssl_certificate_key" is defined for certificate "{last.value}"'
            fault = Fault(last.file, last.directive.line, message)
            self.keyless.setdefault(fault)
            yield fault

    def _heed(self, block: Setting, inside: tuple[Setting, ...]) -> Iterator[Note]:
        """The comments to certfront inside a server's braces, and in the files that it includes there."""
        start, end = block.directive.inside or (0, 0)
        found = [(block.file, note) for note in self.notes[block.file] if start <= note.start < end]
        files = dict.fromkeys(path for setting in inside for path in self.tree.targets(setting))
        found += [(file, note) for file in files for note in self.notes.get(file, ())]
        for file, note in found:
            self.heeded.add((file, note.start))
            yield note

    def _warnings(self) -> Iterator[Fault]:
        for file, found in self.notes.items():
            for note in found:
                if note.problem:
                    yield Fault(file, note.line, note.problem)
                elif (file, note.start) not in self.heeded:
                    yield Fault(file, note.line, "a comment to certfront has no effect outside of a server")


def _by_name(settings: Iterable[Setting]) -> Settings:
    found: defaultdict[str, list[Setting]] = defaultdict(list)
    for setting in settings:
        found[setting.name].append(setting)
    return {name: tuple(group) for name, group in found.items()}


def _with_one_word(settings: Settings, name: str) -> tuple[Setting, ...]:
    """The settings with exactly one argument: NGINX refuses all others, with their place."""
    return tuple(setting for setting in settings.get(name, ()) if len(setting.words) == 1)


def _value(settings: Settings, name: str) -> str:
    """The value of a setting that may occur once, in lower case, as NGINX compares it without case."""
    return settings[name][0].value.lower() if name in settings else ""
