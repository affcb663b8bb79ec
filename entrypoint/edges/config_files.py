"""The user's NGINX configuration on disk, with all included files: read, never changed."""

from __future__ import annotations

import errno
import glob
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from entrypoint.core.conf.configuration import UserConfig, user_config
from entrypoint.core.conf.includes import Unread, includes, is_glob
from entrypoint.core.conf.paths import folder
from entrypoint.core.conf.syntax import Parsed, SyntaxFault, attempt
from entrypoint.core.conf.vanished import Ran, unfound, vanished
from entrypoint.core.model import Outcome, Refused
from entrypoint.core.settings import Settings
from entrypoint.system import files

Stamp = tuple[object, ...]

_GONE = (errno.ENOENT, errno.ELOOP, errno.ENOTDIR)
_KINDS = {"a folder": stat.S_ISDIR, "a FIFO": stat.S_ISFIFO, "a socket": stat.S_ISSOCK}
_KINDS |= {"a device": stat.S_ISCHR, "a disk": stat.S_ISBLK}


class ConfigFiles:
    """The files below ``NGINX_CONF``.

    The ``packaged`` configuration takes their place where there is no root file, and its snippets are for includes that
    match no file of the user's. Files in the run folder's ``conf.d`` (templates that were filled on a read-only root)
    are read as if the ``http`` block included them at its end. ``ran`` are the files of the configuration that ran
    last.
    """

    def __init__(self, settings: Settings, packaged: UserConfig, ran: Ran | None = None) -> None:
        self.root = str(settings.nginx_conf)
        self.more = f"{settings.run_dir}/conf.d/*.conf"
        self.packaged = packaged
        prefix = f"{folder(self.root)}snippets/"
        self.snippets = {path: text for path, text in packaged.texts.items() if path.startswith(prefix)}
        self._stamp: Stamp | None = None
        self._user = packaged
        self._ran = ran
        self._patterns: tuple[str, ...] = tuple(ran.matches) if ran else ()
        self._files: tuple[str, ...] = ()
        self._unread: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that were read."""
        return tuple(map(Path, (self.root, *self._files)))

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders to watch: those of all files, and of all patterns."""
        found = (os.path.dirname(path) for path in (self.root, *self._files, *self._patterns, self.more))  # noqa: PTH120
        return tuple(sorted({Path(path) for path in found if path and not is_glob(path)}))

    def read(self) -> UserConfig:
        """The configuration of now, the packaged one without a root file; read again only if something changed.

        Raises `Refused` (config-rejected) for a root file that cannot be read or parsed, and for files that were read
        before and, though nobody removed them, cannot be found or read any more: then nothing is known.
        """
        if self.changed():
            self._stamp = None
            self._user = self._read() if _is_there(self.root) else self.packaged
            self._stamp = self._stamps()
        return self._user

    def changed(self) -> bool:
        """Whether a file differs from when it was read last."""
        return self._stamp != self._stamps()

    def _stamps(self) -> Stamp:
        """A value that differs when a file changes, or a pattern matches other files."""
        patterns = (*self._patterns, self.more)
        return (
            *map(_stamp, (self.root, *self._files, *self._unread)),
            *(tuple(_matches(pattern)) for pattern in patterns),
        )

    def _read(self) -> UserConfig:
        texts: dict[str, str] = {}
        parsed: dict[str, Parsed | SyntaxFault] = {}
        matches: dict[str, tuple[str, ...]] = {}
        unread: dict[str, Unread] = {}
        waiting = [self.root]
        while waiting:
            path = waiting.pop()
            if path in parsed:
                continue
            if isinstance(text := self._text(path), Unread):
                unread[path] = text
                continue
            texts[path], parsed[path] = text, attempt(text)
            if path == self.root:
                texts[path], parsed[path] = self._with_more(text, parsed[path])
            for pattern in _includes(parsed[path], self.root):
                matches[pattern] = matches.get(pattern) or self._found(pattern)
                waiting += matches[pattern]
        self._check(Ran(texts, matches), unread)
        self._patterns, self._files, self._unread = tuple(matches), tuple(texts), tuple(unread)
        user = user_config(self.root, texts, matches, unread, parsed)
        if fault := user.broken.get(self.root):
            raise Refused(Outcome.CONFIG_REJECTED, str(fault), "mend NGINX_CONF")
        return user

    def _text(self, path: str) -> str | Unread:
        found = _content(path)
        if isinstance(found, Unread) and path == self.root:
            raise Refused(
                Outcome.CONFIG_REJECTED,
                f"NGINX_CONF: {path} {found.reason}",
                "give it to the user that certfront runs as, or remove it",
            )
        return self.snippets.get(path, found) if isinstance(found, Unread) else found

    def _check(self, now: Ran, unread: Mapping[str, Unread]) -> None:
        """Refuse a configuration that has lost files which nobody removed."""
        if ran := self._ran:
            hidden = {path: Unread(why, is_file=True) for path in unfound(ran, *now) if (why := _hidden(path))}
            if why := vanished(ran, {**unread, **hidden}):
                raise Refused(
                    Outcome.CONFIG_REJECTED,
                    why,
                    "let the user that certfront runs as read it again, or remove it, or the include that names it",
                )
        self._ran = now

    def _found(self, pattern: str) -> tuple[str, ...]:
        found = tuple(_matches(pattern))
        return (pattern,) if not found and pattern in self.snippets else found

    def _with_more(self, text: str, parsed: Parsed | SyntaxFault) -> tuple[str, Parsed | SyntaxFault]:
        """Include the run folder's files in the ``http`` block, without a new line, so that line numbers stay.

        Before the ``}`` that closes a block no comment is open, whatever else its line holds.
        """
        if isinstance(parsed, SyntaxFault) or not _matches(self.more):
            return text, parsed
        http = next((each for each in parsed.directives if each.name == "http" and each.inside), None)
        if not http or not http.inside:
            return text, parsed
        end = http.inside[1]
        text = f'{text[:end]} include "{self.more}"; {text[end:]}'
        return text, attempt(text)


def _content(path: str) -> str | Unread:
    """The text of a regular file; other kinds are not opened, as a FIFO or a device may block the reader."""
    try:
        if problem := _no_file(os.stat(path)):  # noqa: PTH116 - follows links
            return Unread(problem, is_file=False)
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
            problem = _no_file(os.fstat(file.fileno()))  # it may be another one by now
            data = b"" if problem else file.read(files.LARGEST_TEXT + 1)
    except OSError as error:
        if error.errno in _GONE:
            return Unread("is a link that leads to no file", is_file=False)
        return Unread(f"cannot be read by uid {os.geteuid()}: {error.strerror}", is_file=True)
    if len(data) > files.LARGEST_TEXT:
        return Unread(f"is larger than {files.LARGEST_TEXT} bytes", is_file=True)
    return Unread(problem, is_file=False) if problem else data.decode(errors="surrogateescape")


def _no_file(status: os.stat_result) -> str:
    """The kind of a path that is no file; empty for files, and for /dev/null, which NGINX reads as an empty one."""
    if stat.S_ISREG(status.st_mode) or (stat.S_ISCHR(status.st_mode) and status.st_rdev == os.makedev(1, 3)):
        return ""
    kind = next((name for name, is_one in _KINDS.items() if is_one(status.st_mode)), "something else")
    return f"is {kind}, not a file"


def _includes(parsed: Parsed | SyntaxFault, root: str) -> Iterable[str]:
    return includes(parsed, folder(root)) if isinstance(parsed, Parsed) else ()


def _matches(pattern: str) -> list[str]:
    """The matches of a pattern, as glob(3) without GLOB_BRACE: sorted by byte, hidden files only by a dot."""
    found = glob.glob(pattern) if is_glob(pattern) else [pattern] * os.path.exists(pattern)  # noqa: PTH110, PTH207
    return sorted(found, key=os.fsencode)


def _is_there(path: str) -> bool:
    """Whether something exists at a path, or may exist: an entry of a closed folder is not gone."""
    try:
        os.lstat(path)
    except OSError as error:
        return error.errno not in _GONE
    return True


def _hidden(path: str) -> str:
    """Why a file that was not found may exist: for glob(3) and NGINX a closed folder is an empty one."""
    place = path
    try:
        os.stat(path)  # noqa: PTH116 - follows links
        while (place := os.path.dirname(place)) != "/":  # noqa: PTH120
            os.scandir(place).close()
    except OSError as error:
        if error.errno in _GONE:
            return ""
        what = "reached" if place == path else f"found: {place} cannot be listed"
        return f"cannot be {what} by uid {os.geteuid()}: {error.strerror}"
    return ""


def _stamp(path: str) -> Stamp:
    try:
        status = os.stat(path)  # noqa: PTH116 - follows links: Kubernetes swaps them
    except OSError as error:
        return (error.errno,)
    return status.st_ino, status.st_dev, status.st_size, status.st_mtime_ns, status.st_mode
