"""The user's access and error logs on standard output, as JSON where LOG_FORMAT=json asks for it.

Access logs get a format. Error logs have none: they go to standard error, where their lines become JSON.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from entrypoint.core.conf.configuration import UserConfig
from entrypoint.core.conf.edit import Replace
from entrypoint.core.conf.syntax import Directive
from entrypoint.core.facts import Facts
from entrypoint.core.generation.site import JSON_FORMAT
from entrypoint.core.settings import Settings

_FOLDERS = ("/dev/fd", "/proc/self/fd", "/proc/1/fd")
OUTPUTS = frozenset({"/dev/stdout", "/dev/stderr"} | {f"{folder}/{fd}" for folder in _FOLDERS for fd in (1, 2)})
_DEFINED = f"log_format {JSON_FORMAT} "
_STREAM = (
    f"{_DEFINED}escape=json "
    '\'{"time":"$time_iso8601","logger":"access","remote_addr":"$remote_addr","protocol":"$protocol",\' '
    '\'"status":$status,"bytes":$bytes_sent,"seconds":$session_time}\';'
)


def edits(
    user: UserConfig, settings: Settings, facts: Facts, templates: Mapping[str, str]
) -> Iterator[tuple[str, Replace]]:
    """The edits that make the logs JSON, each with its file.

    A log whose own format escapes JSON is the user's own JSON, and stays.
    """
    if settings.log_format != "json" or user.packaged:
        return
    json = _json_formats(user)
    for file, log in _logs(user, OUTPUTS | facts.outputs):
        if log.name == "error_log":
            yield file, Replace(log.args[0].start, log.args[0].end, "stderr")
        elif edit := _with_format(log, json):
            yield file, edit
    http = " ".join(templates["templates/log-json.conf"].split("\n")).replace("log_format certfront ", _DEFINED, 1)
    for context, text in {"http": http, "stream": _STREAM}.items():
        for block in user.configuration.levels["main"].get(context, ())[:1]:
            if block.directive.inside:
                start = block.directive.inside[0]
                yield block.file, Replace(start, start, f" {text} ")


def _logs(user: UserConfig, outputs: Collection[str]) -> Iterator[tuple[str, Directive]]:
    for file, each in user.directives():
        if each.name in ("access_log", "error_log") and each.args and each.args[0].value in outputs:
            yield file, each


def _json_formats(user: UserConfig) -> frozenset[str]:
    """The formats of `http` and `stream` that escape JSON; a name in both counts if both do."""
    levels = user.configuration.levels
    formats = [each.words for context in ("http", "stream") for each in levels[context].get("log_format", ())]
    others = {words[0].value for words in formats if not any(word.value == "escape=json" for word in words)}
    return frozenset({words[0].value for words in formats} - others)


def _with_format(log: Directive, json: Collection[str]) -> Replace | None:
    """The words with a format: for NGINX the second word is the format's name, whatever it is."""
    path, *others = log.args
    if not others:
        return Replace(path.end, path.end, f" {JSON_FORMAT}")
    return None if others[0].value in json else Replace(others[0].start, others[0].end, JSON_FORMAT)
