"""From NGINX's refusal of a configuration to the user's server, block or file that caused it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from entrypoint.core.conf.configuration import UserConfig
from entrypoint.core.conf.includes import Place
from entrypoint.core.conf.paths import folder, full_name, path_word
from entrypoint.core.conf.servers import Server
from entrypoint.core.conf.syntax import Directive
from entrypoint.core.generation.pairs import cared_for, identity
from entrypoint.core.generation.plan import Plan
from entrypoint.core.model import Outcome, Problem, Refused

if TYPE_CHECKING:
    from pathlib import Path

_CHAIN = re.compile(r"/chain-[^/]*\Z")
_CONFLICT = re.compile(r'conflicting server name "(?P<name>.*)" on \S*?(?P<port>\d+), ignored')
_PROFILE = re.compile(r'SSL_(?:CTX_set_cipher_list|CONF_cmd)\((?:"\w+", )?"(?P<value>[^"]*PROFILE=[^"]*)"\) failed')
_NO_KEY = "cannot load certificate key"  # for a key that no password opens, or that is not there
_BIND = re.compile(r"\bbind\(\) to (?:unix:(?P<path>.+)|(?:\[?(?P<address>[^\s\]]*)\]?:)?(?P<port>\d+)) failed")


class Rejected(Refused):
    """NGINX refused a staged generation; ``generation`` is its path."""

    def __init__(self, problem: Problem, generation: Path) -> None:
        super().__init__(problem.outcome, problem.detail, problem.hint)
        self.generation = generation


def is_about_a_key(refusal: Exception) -> bool:
    """Whether a refusal is about a key that NGINX could not load."""
    return _NO_KEY in str(refusal)


def endless(seconds: float) -> Refused:
    """The refusal of a plan that cannot be narrowed in reasonable time."""
    return Refused(
        Outcome.CONFIG_REJECTED, f"NGINX refuses one server or file after the other, for {seconds:.0f} s by now"
    )


def complaints(plan: Plan, narrower: Plan) -> Iterator[str]:
    """A log line for each reason why a narrower plan lacks parts."""
    before, now = plan.refusals, narrower.refusals
    yield from dict.fromkeys(why for _, why in now.settings.items() - before.settings.items())
    refused = [why for place, why in now.servers.items() if place not in before.servers]
    refused += [why for file, why in now.files.items() if file not in before.files]
    for reason in dict.fromkeys(refused):
        many = f" ({refused.count(reason)} places)" if refused.count(reason) > 1 else ""
        yield f"NGINX refuses a part: {reason}{many}"


def narrowed(plan: Plan, generation: Path, message: str) -> Plan | None:
    """The plan without the parts that a message concerns; None where they are not the user's, or gated already."""
    user, known = plan.user, plan.refusals.settings
    if settings := {place: why for place, why in _profiles(user, message).items() if place not in known}:
        return replace(plan, refusals=replace(plan.refusals, settings={**known, **settings}))
    reason = translated(plan, generation, message)
    servers = dict(plan.refusals.servers)
    files = dict(plan.refusals.files)
    for file, line in dict.fromkeys(places(plan, generation, message)):
        found = user.configuration.servers_at(file, line)
        servers |= {server.place: reason for server in found}
        if not found and file == user.root:
            servers |= {block.place: reason for block in user.configuration.blocks_at(file, line)}
        if not found and file != user.root:
            files[file] = reason
    refusals = replace(plan.refusals, servers=servers, files=files)
    return replace(plan, refusals=refusals) if refusals != plan.refusals else None


def _profiles(user: UserConfig, message: str) -> dict[Place, str]:
    """The directives with the cipher profile in a message, each with the reason: only Red Hat's OpenSSL knows these."""
    match = _PROFILE.search(message)
    if not match:
        return {}
    value = match["value"]
    reason = f"{value} is a cipher profile of Red Hat's OpenSSL, which this NGINX does not know: it goes by its default"
    return {(file, each.start): reason for file, each in user.directives() if _sets_ciphers(each, value)}


def _sets_ciphers(directive: Directive, value: str) -> bool:
    words = [word.value for word in directive.args]
    if directive.name.endswith("ssl_conf_command"):
        return [word.lower() for word in words[:1]] == ["cipherstring"] and words[1:] == [value]
    return directive.name.endswith("ssl_ciphers") and words == [value]


def translated(plan: Plan, generation: Path, message: str) -> str:
    """A message of NGINX's with the user's files and lines in place of the copies'."""

    def own(match: re.Match[str]) -> str:
        place = plan.copy.origin(match["path"], int(match["line"]))
        return f"{place[0]}:{place[1]}" if place else match[0]

    def own_file(match: re.Match[str]) -> str:
        pair = plan.pairs_by_file.get(match["chain"] or match["key"])
        return (pair and (pair.certificate_file if _CHAIN.search(match[0]) else pair.key_file)) or match[0]

    return _pair_files(plan, generation).sub(own_file, _copies(generation).sub(own, message))


def remarks(plan: Plan, generation: Path, messages: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """NGINX's warnings with their places in the user's files; the root file where NGINX names none."""
    if plan.user.packaged:
        return ()
    found: dict[tuple[str, str], None] = {}
    for message in messages:
        servers = [*_presenting(plan, generation, message), *_namesakes(plan.user, message)[-1:]]
        places = [place for match in _copies(generation).finditer(message) for place in _named(plan, match)]
        places += [_line(server) for server in servers]
        where = f"{places[0][0]}:{places[0][1]}" if places else plan.user.root
        found[where, translated(plan, generation, message).removesuffix(f" in {where}")] = None
    return tuple(found)


def told(plan: Plan, error: Rejected) -> Refused:
    """A refusal with the user's files and lines in its message."""
    problem = error.problem
    return Refused(problem.outcome, translated(plan, error.generation, problem.detail), problem.hint)


def _copies(generation: Path) -> re.Pattern[str]:
    return re.compile(rf"{re.escape(str(generation))}/(?P<path>[^:;]+):(?P<line>\d+)")


def _pair_files(plan: Plan, generation: Path) -> re.Pattern[str]:
    """The paths of chains and keys in NGINX's messages: in the generation, and of keys in the run folder."""
    run = re.escape(str(plan.settings.run_dir))
    return re.compile(rf'{re.escape(str(generation))}/(?P<chain>certs/[^":;]+)|(?P<key>{run}/keys/[^":;]+)')


def _presenting(plan: Plan, generation: Path, message: str) -> Iterator[Server]:
    """The servers whose chain or key a message names."""
    for match in _pair_files(plan, generation).finditer(message):
        if about := plan.pairs_by_file.get(match["chain"] or match["key"]):
            for server in plan.user.configuration.servers:
                if any(identity(pair) == about.identity for pair in cared_for(server)):
                    yield server


def _namesakes(user: UserConfig, message: str) -> list[Server]:
    """The servers with the same name on the same port, of which NGINX ignores all but the first."""
    match = _CONFLICT.match(message)
    if not match:
        return []
    name, port = match["name"], int(match["port"])
    servers = user.configuration.servers
    return [each for each in servers if name in each.names and any(one.port == port for one in each.listeners)]


def places(plan: Plan, generation: Path, message: str) -> Iterator[tuple[str, int]]:
    """The user's files and lines that a message concerns: by a place in it, or by a path or port in it."""
    named = [place for match in _copies(generation).finditer(message) for place in _named(plan, match)]
    named = named or [_line(server) for server in _presenting(plan, generation, message)]
    yield from named
    if named:
        return
    for file, directive in plan.user.directives():
        if any(name in message for name in _files(directive, folder(plan.user.root))):
            yield file, directive.line
    if bind := _BIND.search(message):
        yield from _listening(plan.user.configuration.servers, bind["path"] or bind["address"], int(bind["port"] or 0))


def _named(plan: Plan, match: re.Match[str]) -> Iterator[tuple[str, int]]:
    """The user's places behind a line of the copies; for a stand-in also the servers that share its socket."""
    path, line = match["path"], int(match["line"])
    if place := plan.copy.origin(path, line):
        yield place
    for server in plan.copy.neighbours(path, line):
        yield _line(server)


def _line(server: Server) -> tuple[str, int]:
    return server.block.file, server.block.directive.line


def _files(directive: Directive, prefix: str) -> Iterator[str]:
    """The spellings of a directive's files in NGINX's messages; paths below NGINX's own prefix end with the word."""
    path = path_word(directive)
    for word in directive.args if directive.name != "include" else ():
        if word is path:
            yield f'"{full_name(word.value, prefix)}"'
        elif name := word.value.removeprefix("./").lstrip("/"):
            yield f'/{name}"'


def _listening(servers: Iterable[Server], address: str, port: int) -> Iterator[tuple[str, int]]:
    """The servers on an address that NGINX cannot bind, or, where they spell it differently, on its port."""
    found = [(server, each.address) for server in servers for each in server.listeners if each.port == port]
    exactly = [each for each in found if each[1] == address]
    for server, _ in exactly or (found if port else ()):
        yield _line(server)
