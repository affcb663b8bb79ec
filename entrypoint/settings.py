"""The environment, read once into one frozen and checked value.

Every fault is found before any is reported: see `SettingsError`. The variables are described in the README.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from ipaddress import IPv6Address
from pathlib import Path
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

from entrypoint.core.names import to_ascii
from entrypoint.core.options import HTTPS, Endpoint, Settings

T = TypeVar("T")
_UNSAFE = re.compile(r"[\s\"'`;{}$\\]")
_OURS = ("CERTMGR_", "CERTFRONT_")
_ENDPOINT = re.compile(r"(\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<host>[^][\s:@/?#]+))(:(?P<port>[0-9]+))?")
_URL_MAX = 2000  # characters; NGINX reads no longer word than 4096 bytes
_PATH_MAX, _NAME_MAX = 2000, 255  # bytes; NGINX appends to the one, limits.h has the other
# Kubernetes and Docker links describe a service that is called certfront or certmgr in variables like these.
_SERVICE = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)$|_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$")


class SettingsError(Exception):
    """All faults of the settings, a line each: variable, what was expected, what was found."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def from_environment(environ: Mapping[str, str]) -> Settings:
    """Read the settings. Raises `SettingsError` with every fault at once."""
    reader = _Reader(environ)
    settings = _read(reader)
    reader.refuse_unknown()
    _refuse_shared_ports(settings, reader)
    if reader.faults:
        raise SettingsError(reader.faults)
    return settings


def _read(env: _Reader) -> Settings:
    hosts = tuple(env.each("CERTMGR_HOST", parse_endpoint))
    https_port = env.read("HTTPS_PORT", "443", _port, 443)
    nginx_conf = env.read("NGINX_CONF", "/etc/nginx/nginx.conf", _path, Path())
    http3 = env.choice("HTTP3", "off", "on") == "on"
    key_unlock = env.choice("KEY_UNLOCK", "nginx", "memory")
    return Settings(
        certmgr_hosts=hosts,
        certmgr_lookup=env.read("CERTMGR_LOOKUP", "", _lookup, ""),
        check_interval=env.read("CERTMGR_CHECK_INTERVAL", "300", _interval, 300.0),
        timeout=env.read("CERTMGR_TIMEOUT", "10", _seconds, 10.0),
        trusted_roots_file=env.read("TRUSTED_ROOTS_FILE", "", _roots, ""),
        server_names=tuple(dict.fromkeys(env.each("SERVER_NAME", parse_name))),
        upstream=env.read("UPSTREAM", "", _upstream, ""),
        key_files=_key_files(env),
        key_password_file=env.read("KEY_PASSWORD_FILE", "/etc/nginx/ssl_pw.txt", _path, Path()),
        key_unlock=key_unlock,
        acme_challenge=env.choice("ACME_CHALLENGE", "redirect", "proxy", "off"),
        acme_challenge_target=env.read("ACME_CHALLENGE_TARGET", "", _origin, "")
        or (f"https://{hosts[0]}" if hosts else ""),
        before_tls=env.choice("BEFORE_TLS", "wait", "serve"),
        http_port=env.read("HTTP_PORT", "80", _port, 80),
        https_port=https_port,
        status_port=env.read("STATUS_PORT", "8081", _port, 8081),
        https_public_port=env.read("HTTPS_PUBLIC_PORT", str(https_port), _port, https_port),
        http3=http3,
        hsts=env.read("HSTS", "off", _header, ""),
        log_format=env.choice("LOG_FORMAT", "text", "json"),
        log_level=env.choice("LOG_LEVEL", "info", "debug", "warning", "error"),
        state_dir=env.read("CERTFRONT_STATE_DIR", "/var/lib/certfront", _path, Path()),
        run_dir=env.read("CERTFRONT_RUN_DIR", "/run/certfront", _path, Path()),
        nginx_bin=env.read("NGINX_BIN", "nginx", _word, "nginx"),
        nginx_conf=nginx_conf,
    )


def _key_files(env: _Reader) -> tuple[Path, ...]:
    faults = len(env.faults)
    files = tuple(env.each("KEY_FILE", _path, "/etc/nginx/key.pem", spaces=False))
    countable = len(env.faults) == faults
    if countable and (not 1 <= len(files) <= 2 or len(set(files)) < len(files)):
        env.fault("KEY_FILE", "one key file, or two different ones (RSA and ECDSA)", env.text("KEY_FILE"))
    return files


def _refuse_shared_ports(settings: Settings, env: _Reader) -> None:
    ports = {
        "HTTP_PORT": settings.http_port,
        "HTTPS_PORT": settings.https_port,
        "STATUS_PORT": settings.status_port,
    }
    for name, port in ports.items():
        others = [other for other, number in ports.items() if number == port and other < name]
        if others:
            env.fault(name, f"a port that {' and '.join(others)} does not use", str(port))


class _Reader:
    """Reads variables one by one, and collects what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.faults: list[str] = []
        self.known: set[str] = set()

    def fault(self, name: str, expected: str, found: str) -> None:
        self.faults.append(f"{name}: expected {expected}, found {found!r}")

    def text(self, name: str, default: str = "") -> str:
        """The value; an empty variable counts as unset, as Compose's ``${VAR:-}`` makes them."""
        self.known.add(name)
        return self.environ.get(name, "").strip() or default

    def read(self, name: str, default: str, parse: Callable[[str], T], otherwise: T) -> T:
        text = self.text(name, default)
        try:
            return parse(text) if text else otherwise
        except ValueError as error:
            self.fault(name, str(error), text)
            return otherwise

    def each(self, name: str, parse: Callable[[str], T], default: str = "", *, spaces: bool = True) -> list[T]:
        values = []
        for word in re.split(r"[,\s]+" if spaces else r"\s*,\s*", self.text(name, default)):
            try:
                values += [parse(word)] if word else []
            except ValueError as error:
                self.fault(name, str(error), word)
        return values

    def choice(self, name: str, *values: str) -> str:
        text = self.text(name, values[0]).lower()
        if text not in values:
            self.fault(name, " or ".join(values), text)
        return text

    def refuse_unknown(self) -> None:
        ours = [name for name in self.environ if name.startswith(_OURS) and not _SERVICE.search(name)]
        unknown = [name for name in ours if name not in self.known]
        known = ", ".join(sorted(name for name in self.known if name.startswith(_OURS)))
        for name in sorted(unknown):
            self.faults.append(f"{name}: unknown variable (a typo?); the ones that begin like it are {known}")


def _number(text: str, expected: str, least: float, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(expected) from None
    if not least <= value <= most:
        raise ValueError(expected)
    return value


def _interval(text: str) -> float:
    return _number(text, "a number of seconds, 1 or more", 1, 10 * 366 * 86400)


def _seconds(text: str) -> float:
    return _number(text, "a number of seconds between 0.1 and 600", 0.1, 600)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise ValueError("a port between 1 and 65535")
    return int(text)


def _word(text: str) -> str:
    if not _plain(text):
        raise ValueError("a name or path without spaces, quotes or any of ; { } $ \\")
    return text


def _plain(text: str) -> bool:
    """Whether a text can stand between quotes in NGINX's configuration as it is."""
    return text.isprintable() and not _UNSAFE.search(text)


def _path(text: str) -> Path:
    path = Path(_word(text))
    if not path.is_absolute():
        raise ValueError("an absolute path")
    if len(os.fsencode(path)) >= _PATH_MAX or any(len(os.fsencode(part)) > _NAME_MAX for part in path.parts):
        raise ValueError(f"a path of less than {_PATH_MAX} bytes, with names of at most {_NAME_MAX}")
    return path


def _roots(text: str) -> str:
    return text if text == "system" else str(_path(text))


def _header(text: str) -> str:
    if text.lower() == "off":
        return ""
    if not re.fullmatch(r"max-age=[0-9]+( *; *[A-Za-z]+)*", text):
        raise ValueError("off, or a Strict-Transport-Security value such as max-age=31536000")
    return text


def parse_name(text: str) -> str:
    """A host name as A-labels. Raises ValueError with what was expected."""
    try:
        return to_ascii(text)
    except ValueError:
        raise ValueError("a host name such as www.acme.io (letters, digits, hyphens and dots)") from None


def parse_endpoint(text: str) -> Endpoint:
    """``host[:port]`` as `Endpoint`, port 443 if none is given. Raises ValueError with what was expected."""
    found = _ENDPOINT.fullmatch(text)
    if not found:
        raise ValueError("host or host:port (an IPv6 address in brackets)")
    host = str(IPv6Address(found["address"])) if found["address"] else parse_name(found["host"])
    return Endpoint(host, _port(found["port"]) if found["port"] else HTTPS)


def _lookup(text: str) -> str:
    if text.startswith("*"):
        raise ValueError("one concrete host name (SNI carries no wildcard)")
    return parse_name(text)


def _url(text: str, expected: str) -> SplitResult:
    try:
        url = urlsplit(text)
        usable = url.scheme in ("http", "https") and url.hostname and (url.port is None or url.port > 0)
    except ValueError:
        usable = None
    if not usable or len(text) > _URL_MAX or not _plain(text) or "@" in url.netloc or url.query or url.fragment:
        raise ValueError(expected)
    return url


def _upstream(text: str) -> str:
    url = _url(text, "a URL such as http://app:8080")
    return f"{url.scheme}://{url.netloc}{url.path.rstrip('/')}"


def _origin(text: str) -> str:
    url = _url(text, "a URL such as https://certmgr.acme.com")
    if url.path not in ("", "/"):
        raise ValueError("a URL without a path: the request's own is appended")
    return f"{url.scheme}://{url.netloc}"
