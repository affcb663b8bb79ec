"""Files that were read before and cannot be read now, although nobody removed them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from entrypoint.core.conf.includes import Unread
from entrypoint.core.conf.syntax import Parsed, attempt, walk

_MOST = 3  # files, or names of servers, in one sentence


class Ran(NamedTuple):
    """The files of the last configuration: texts by path, and the matches of each pattern."""

    texts: Mapping[str, str]
    matches: Mapping[str, Sequence[str]]

    @classmethod
    def stored(cls, data: bytes) -> Ran | None:
        """The files in the JSON of `UserConfig.as_json`; None for anything else."""
        try:
            found = json.loads(data)
            return cls(dict(found["texts"]), {pattern: tuple(paths) for pattern, paths in found["matches"].items()})
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


def unfound(ran: Ran, texts: Collection[str], matches: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The former targets of an unchanged include that it does not match any more."""
    paths = (path for pattern in ran.matches if pattern in matches for path in ran.matches[pattern])
    return tuple(dict.fromkeys(path for path in paths if path in ran.texts and path not in texts))


def vanished(ran: Ran, unread: Mapping[str, Unread]) -> str:
    """A sentence about the files that were read before and cannot be read now; empty where there are none.

    Whoever removes a file, or puts another in its place, wants its content to be gone; nobody wants that of a file that
    is there but closed.
    """
    gone = sorted(path for path in ran.texts if path in unread and unread[path].is_file)
    said = [f"{path}{_with(ran.texts[path])} {unread[path].reason}" for path in gone[:_MOST]]
    more = [f"{len(gone) - _MOST} more"] if len(gone) > _MOST else []
    return f"{', and '.join([*said, *more])}: that was read before, and is not meant to be gone" if gone else ""


def _with(text: str) -> str:
    names = list(dict.fromkeys(_names(text)))
    more = ", ..." if len(names) > _MOST else ""
    return f" (with {', '.join(names[:_MOST])}{more})" if names else ""


def _names(text: str) -> Iterator[str]:
    parsed = attempt(text)
    for directive in walk(parsed.directives) if isinstance(parsed, Parsed) else ():
        if directive.name == "server_name":
            yield from (word.value for word in directive.args)
