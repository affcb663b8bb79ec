"""The facts of this machine, and the folders for NGINX's temporary files."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import resource
import shutil
import socket
import stat
from pathlib import Path

from entrypoint.core.facts import Facts, addresses, nameservers
from entrypoint.core.generation.access_lines import OUTPUTS
from entrypoint.core.nginx_output import Build

KINDS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")  # of temporary files
_CACHE = Path("/var/cache/nginx")  # the official image's
_WORKERS = ("nginx", "www-data", "nobody")


def facts(build: Build, run_dir: Path) -> tuple[Facts, tuple[str, ...]]:
    """The facts that a configuration depends on, and a warning for each missing feature of the machine."""
    user, warning = _worker_user(run_dir)
    log = _can_open_stdout()
    nolog = "standard output cannot be opened as a file (a socket?): the access log is off" if not log else ""
    found = Facts(
        build.version,
        ipv6=_ipv6(),
        user=user,
        access_log=log,
        nameservers=nameservers(_text("/etc/resolv.conf")),
        hosts=addresses(_text("/etc/hosts")),
        http3=build.http3,
        temp_dir=temporary_folder(run_dir),
        openssl=build.openssl,
        nofile=_nofile(),
        outputs=_outputs(),
    )
    return found, tuple(sentence for sentence in (warning, nolog) if sentence)


def temporary_folder(run_dir: Path, cache: Path = _CACHE) -> str:
    """A folder for temporary files on another file system than the run folder; empty where there is none to use.

    Visitors determine number and size of temporary files, so these must not fill certfront's own folder.
    """
    folder = cache / "certfront"
    try:
        found, ours = cache.stat(), run_dir.stat()
        # As root, NGINX gives what it finds there to its workers: nobody else may have put it there.
        foreign = os.geteuid() == 0 and (found.st_uid != 0 or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
        if foreign or found.st_dev == ours.st_dev:
            return ""
        folder.mkdir(exist_ok=True)
    except OSError:
        return ""
    return str(folder) if os.access(folder, os.W_OK | os.X_OK) else ""


def prepare_temporary(folder: Path) -> None:
    """Make the folders, and empty them; NGINX reports those that cannot be made."""
    for kind in KINDS:
        with contextlib.suppress(OSError):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            for left in list((folder / kind).iterdir()):
                if left.is_dir() and not left.is_symlink():
                    shutil.rmtree(left, ignore_errors=True)
                else:
                    left.unlink()


def _nofile() -> int:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 0 if limit == resource.RLIM_INFINITY else limit


def _outputs(folder: str = "/var/log/nginx") -> frozenset[str]:
    """NGINX's usual log files that are links to standard output or error, as in the official image."""
    found = set()
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink() and os.readlink(entry) in OUTPUTS:  # noqa: PTH115 - the link alone
                found.add(entry.path)
    return frozenset(found)


def _ipv6() -> bool:
    """Whether the kernel lets a socket listen on ``[::]``: hosts without IPv6 fail on such a line."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _worker_user(run_dir: Path) -> tuple[str, str]:
    if os.geteuid() != 0:
        return "", ""
    entry = next((entry for name in _WORKERS if (entry := _account(name))), None)
    if entry is None:
        return "root", f"none of the users {', '.join(_WORKERS)} exists: NGINX's workers run as root"
    closed = next((path for path in (run_dir, *run_dir.parents) if not _may_enter(path, entry)), None)
    if closed:
        return (
            "root",
            f"{closed} is closed to the user {entry.pw_name}: NGINX's workers run as root; chmod o+x opens it",
        )
    return f"{entry.pw_name} {grp.getgrgid(entry.pw_gid).gr_name}", ""


def _account(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _may_enter(path: Path, entry: pwd.struct_passwd) -> bool:
    try:
        found = path.stat()
    except FileNotFoundError:
        return True  # we are about to make it
    if found.st_uid == entry.pw_uid:
        return bool(found.st_mode & stat.S_IXUSR)
    return bool(found.st_mode & (stat.S_IXGRP if found.st_gid == entry.pw_gid else stat.S_IXOTH))


def _can_open_stdout() -> bool:
    try:
        os.close(os.open("/dev/stdout", os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
