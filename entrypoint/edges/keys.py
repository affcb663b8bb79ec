"""Private keys and their passwords, read without waiting from the administrator's files; nothing is ever written."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from entrypoint.core.model import Key, Outcome, Problem, Refused
from entrypoint.core.x509 import private_key
from entrypoint.system import files


def load(path: Path, password_file: Path) -> Key:
    """The first private key in ``path``, opened by the first password that fits.

    Raises Refused: key-missing; key-unreadable for a file that holds no RSA, ECDSA or EdDSA key in PEM, or cannot be
    read; wrong-password where it is encrypted and no password opens it.
    """
    block = private_key.find(path, _content(path, "the key file"))
    passwords = _content(password_file, "the password file") if block.encrypted else None
    return private_key.opened(path, block, password_file, passwords)


def found(path: Path, password_file: Path) -> Key | Problem:
    """As `load`, with the problem in place of an exception."""
    try:
        return load(path, password_file)
    except Refused as error:
        return error.problem


def _content(path: Path, what: str) -> bytes | None:
    """The file's content, None for a missing one; all other errors become `Refused`."""
    try:
        with files.opened(path) as file:
            content = file.read(files.LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except IsADirectoryError:
        raise _directory(path, what) from None
    except PermissionError:
        detail = f"{what} {path} may not be read: {_owner(path)}, this process runs as uid {os.geteuid()}"
        raise Refused(Outcome.KEY_UNREADABLE, detail, _opened_by(path)) from None
    except OSError as error:
        hint = "put the content into a file" if error.errno == errno.EINVAL else ""
        raise Refused(Outcome.KEY_UNREADABLE, f"{what} {path} cannot be read: {error.strerror}", hint) from None
    if len(content) > files.LARGEST:
        detail = f"{what} {path} is larger than {files.LARGEST} bytes"
        raise Refused(Outcome.KEY_UNREADABLE, detail, "is it the right file?")
    return content


def warn_about_mode(path: Path) -> str | None:
    """A warning if users other than the required ones may read or write the file; None otherwise, or if it is no file.

    Where this process is neither root nor the owner, it reads by its group: then the group may read.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    by_group = os.geteuid() not in (0, status.st_uid)
    if not stat.S_ISREG(status.st_mode) or not status.st_mode & (0o037 if by_group else 0o077):
        return None
    who, mode = ("others than its owner and group", "440") if by_group else ("group or others", "400")
    return f"{path} has mode {stat.S_IMODE(status.st_mode):04o}: {who} have access to it; chmod {mode} keeps them out"


def _directory(path: Path, what: str) -> Refused:
    hint = (
        "container engines make a folder where the file to mount does not exist on the host: remove the container "
        "(docker rm) and then that folder (rmdir) first, put the file there, and run it again"
    )
    return Refused(Outcome.KEY_UNREADABLE, f"{what} {path} is a directory", hint)


def _owner(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "a folder above it is closed"
    return f"it belongs to uid {status.st_uid}, gid {status.st_gid}, with mode {stat.S_IMODE(status.st_mode):04o}"


def _opened_by(path: Path) -> str:
    """The way in which this process may read a file: as root, by group 0 as in images, or as its owner."""
    folders = reversed(path.parents)  # the outermost one that is closed hides the rest
    closed = next((folder for folder in folders if not os.access(folder, os.X_OK, effective_ids=True)), None)
    if closed:
        return f"let uid {os.geteuid()} enter the folder {closed}: chmod o+x, or give it to that user"
    if os.geteuid() != 0 and 0 in (os.getegid(), *os.getgroups()):
        return f"uid {os.geteuid()} is in group 0, so let that group read it: chgrp 0, and chmod 440"
    return f"give it to that user: chown {os.geteuid()}, and chmod 400"
