"""``certfront demo-certmgr``: the stand-in CertMgr alone, for compose stacks and laboratories.

It has a small certification authority, exports the key as an administrator would, and serves a certificate for it, with
a delay and with renewals if asked to.
"""

from __future__ import annotations

import argparse
import contextlib
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from entrypoint.core.model import KeyType
from entrypoint.core.x509.pem import split_passwords
from entrypoint.demo import pki
from entrypoint.demo.pki import Authority, PrivateKey
from entrypoint.demo.standin import Credential, StandInCertMgr
from entrypoint.system import disk
from entrypoint.system.signals import ENDING

_T = TypeVar("_T")
_N = TypeVar("_N", int, float)
_DEFAULT_NAME = "certmgr.example.test"


class Unusable(Exception):
    """The files of an earlier start cannot be used: what was found, and what to do."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``certfront demo-certmgr``."""
    add = parser.add_argument
    add("--names", type=_names, default=("www.example.test",), metavar="NAME[,...]",
        help="the names of its one TLS credential (default: www.example.test)")  # fmt: skip
    add("--listen", type=_endpoint, default=("", 443), metavar="[HOST:]PORT",
        help="where TLS listens (default: 443 on all addresses)")  # fmt: skip
    add("--http-port", type=_port, metavar="PORT", help="plain HTTP for ACME challenges (default: none)")
    add("--key-type", type=KeyType, choices=list(KeyType), default=KeyType.RSA, help="default: rsa")
    add("--export", type=Path, metavar="DIR",
        help="write key.pem, ssl_pw.txt and root.pem there; a key that is there already is used")  # fmt: skip
    add("--export-mode", type=_mode, default=0o400, metavar="MODE",
        help="permissions of key.pem and ssl_pw.txt, octal (default: 0400)")  # fmt: skip
    add("--state", type=Path, metavar="DIR", help="keep the authority there between starts")
    add("--delay", type=_seconds, default=0.0, metavar="SECONDS",
        help="serve only the default certificate for so long (default: 0)")  # fmt: skip
    add("--renew-every", type=_positive, metavar="SECONDS",
        help="a new certificate for the same key, again and again (default: never)")  # fmt: skip
    add("--lifetime-days", type=_positive, default=90.0, metavar="DAYS", help="default: 90")
    add("--tls", choices=("1.2", "1.3", "both"), default="1.2", help="default: 1.2")


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM, SIGINT or SIGQUIT. Returns 0, 1 (cannot listen or write) or 2 (unusable files).

    To be called from the main thread. Messages go to stderr, a line each.
    """
    with _signals_held():
        try:
            laboratory = _Laboratory.prepare(args)
            with laboratory.server:
                laboratory.serve()
        except Unusable as reason:
            _say(str(reason))
            return 2
        except OSError as error:
            _say(f"stopped: {error}")
            return 1
    return 0


@dataclass(frozen=True)
class _Laboratory:
    """The running command: an authority, the key that was exported, and the server."""

    args: argparse.Namespace
    authority: Authority
    key: PrivateKey
    server: StandInCertMgr

    @classmethod
    def prepare(cls, args: argparse.Namespace) -> _Laboratory:
        """Read or make authority and key, which listening requires. Raises Unusable and OSError."""
        authority = _stored_authority(args.state) if args.state else Authority.create("Demo")
        key = _exported_key(args, authority) if args.export else pki.new_key(args.key_type)
        defaults = [authority.issue([_DEFAULT_NAME], key_type=kind) for kind in KeyType]
        host, port = args.listen
        server = StandInCertMgr(
            *(Credential((_DEFAULT_NAME,), default.key, default.chain) for default in defaults),
            tls=args.tls,
            host=host or ("::" if socket.has_dualstack_ipv6() else "0.0.0.0"),  # noqa: S104 - documented
            port=port,
            http_port=args.http_port,
            on_event=_say,
        )
        return cls(args, authority, key, server)

    def serve(self) -> None:
        """Issue and renew certificates on schedule until a signal comes."""
        _say(f"TLS on {_shown(self.server.address)}, version {self.args.tls}")
        if self.args.http_port is not None:
            _say(f"HTTP on {_shown(self.server.http_address)}")
        if self.args.delay:
            _say(f"only the default certificate for the next {self.args.delay:g} s")
        wait = self.args.delay
        while (ending := _next(wait)) is None:
            self._issue()
            wait = self.args.renew_every
        _say(f"ended by {ending.name}")

    def _issue(self) -> None:
        """Issue a certificate for the key, and serve it in place of the one before."""
        until = datetime.now(UTC) + timedelta(days=self.args.lifetime_days)
        issued = self.authority.issue(self.args.names, key=self.key, not_after=until)
        self.server.put(Credential(self.args.names, issued.key, issued.chain))
        leaf = issued.certificate
        _say(f"issued {', '.join(self.args.names)} ({self.args.key_type}), serial {leaf.serial_number:x}, "
             f"until {leaf.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC")  # fmt: skip


def _stored_authority(folder: Path) -> Authority:
    """The authority of an earlier start, or a new one that is stored. Raises Unusable and OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    bundle, passwords = folder / "ca.pem", folder / "ca_pw.txt"
    if not bundle.exists():
        authority = Authority.create("Demo")
        password = secrets.token_urlsafe(32).encode()
        disk.replace(passwords, password + b"\n", 0o600)
        disk.replace(bundle, authority.to_pem(password), 0o600)
        return authority
    return _opened(bundle, passwords, Authority.from_pem)


def _exported_key(args: argparse.Namespace, authority: Authority) -> PrivateKey:
    """The key in the export folder, which is made and filled if need be. Raises Unusable and OSError."""
    args.export.mkdir(parents=True, exist_ok=True)
    pem, passwords = args.export / "key.pem", args.export / "ssl_pw.txt"
    disk.replace(args.export / "root.pem", pki.certificate_pem(authority.root.certificate), 0o644)
    if not pem.exists():
        key = pki.new_key(args.key_type)
        if not passwords.exists():
            disk.replace(passwords, secrets.token_urlsafe(32).encode() + b"\n", args.export_mode)
        disk.replace(pem, pki.encrypted_pem(key, _passwords(passwords)[0]), args.export_mode)
        _say(f"exported a new {args.key_type} key to {pem}, its password to {passwords}")
        return key
    key = _opened(pem, passwords, pki.load_key)
    if pki.key_type_of(key) is not args.key_type:
        raise Unusable(f"{pem} holds an {pki.key_type_of(key)} key, and --key-type is {args.key_type}: "
                       "change the option, or delete the file to have a new key")  # fmt: skip
    return key


def _opened(pem: Path, passwords: Path, load: Callable[[bytes, bytes], _T]) -> _T:
    """The content of the file, decrypted with the first password that fits."""
    data = pem.read_bytes()
    for password in _passwords(passwords):
        with contextlib.suppress(ValueError):
            return load(data, password)
    raise Unusable(f"{pem} is damaged or not encrypted with a password in {passwords}: "
                   "put the right files there, or delete both to start anew")  # fmt: skip


def _passwords(path: Path) -> tuple[bytes, ...]:
    """The passwords in a file, one a line. Raises Unusable where there is none."""
    found = split_passwords(path.read_bytes()) if path.exists() else ()
    if not found:
        raise Unusable(f"{path} is missing or empty: put the password of the key beside it there, "
                       "or delete both to start anew")  # fmt: skip
    return found


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Ending signals stay pending, for `_next` to take; those that it has not taken have no effect."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        while _next(0):
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _next(seconds: float | None) -> signal.Signals | None:
    """The next signal; None after ``seconds`` without one (None: wait for ever)."""
    found = signal.sigwaitinfo(ENDING) if seconds is None else signal.sigtimedwait(ENDING, seconds)
    return signal.Signals(found.si_signo) if found else None


def _say(text: str) -> None:
    """Print one event in one line."""
    with contextlib.suppress(OSError):
        print(f"certmgr: {text}", file=sys.stderr, flush=True)


def _shown(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _names(text: str) -> tuple[str, ...]:
    try:
        names = tuple(map(pki.ascii_name, text.replace(",", " ").split()))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of host names: {error}") from None
    if not names:
        raise argparse.ArgumentTypeError("expected at least one host name")
    return names


def _endpoint(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), _port(port)


def _number(read: Callable[[str], _N], least: float, below: float, fault: str) -> Callable[[str], _N]:
    def number(text: str) -> _N:
        with contextlib.suppress(ValueError):
            if least <= (value := read(text)) < below:
                return value
        raise argparse.ArgumentTypeError(f"{text!r} {fault}")

    return number


def _digits(text: str) -> int:
    return int(text if text.isascii() and text.isdigit() else "")


_port = _number(_digits, 0, 65536, "is no port: expected a number from 0 to 65535")
_seconds = _number(float, 0, 1e7, "is out of range: expected a number, 0 or more")
_positive = _number(float, sys.float_info.min, 1e7, "is out of range: expected a number above 0")
_mode = _number(partial(int, base=8), 0o400, 0o1000, "is no file mode: expected three octal digits such as 0440")
