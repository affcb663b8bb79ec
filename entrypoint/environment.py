"""The environment, read once into one frozen and checked value.

Every fault is found before any is reported: see `SettingsError`. The variables are described in the README.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from entrypoint.core import spelling, values
from entrypoint.core.doubts import of_settings
from entrypoint.core.settings import Settings

T = TypeVar("T")


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
    return replace(settings, warnings=(*reader.warnings.items(), *of_settings(settings)))


def near_misses(environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Variables that are none of ours but for a typo, each with the one that is: see `core.spelling`."""
    reader = _Reader(environ)
    _read(reader)
    return tuple(spelling.near_misses(environ, reader.known))


def _read(env: _Reader) -> Settings:
    hosts = tuple(env.each("CERTMGR_HOST", values.endpoint))
    https_port = env.read("HTTPS_PORT", "443", values.port, 443)
    nginx_conf = env.read("NGINX_CONF", "/etc/nginx/nginx.conf", _path, Path())
    http3 = env.choice("HTTP3", "off", "on") == "on"
    key_unlock = env.choice("KEY_UNLOCK", "nginx", "memory")
    return Settings(
        certmgr_hosts=hosts,
        certmgr_lookup=env.read("CERTMGR_LOOKUP", "", values.lookup, ""),
        check_interval=env.read("CERTMGR_CHECK_INTERVAL", "300", values.interval, 300.0),
        timeout=env.read("CERTMGR_TIMEOUT", "10", values.seconds, 10.0),
        trusted_roots_file=env.read("TRUSTED_ROOTS_FILE", "", values.roots, ""),
        server_names=tuple(dict.fromkeys(env.each("SERVER_NAME", values.host_name))),
        upstream=env.read("UPSTREAM", "", values.upstream, ""),
        key_files=_key_files(env),
        key_password_file=env.read("KEY_PASSWORD_FILE", "/etc/nginx/ssl_pw.txt", _path, Path()),
        key_unlock=key_unlock,
        acme_challenge=env.choice("ACME_CHALLENGE", "redirect", "proxy", "off"),
        acme_challenge_target=env.read("ACME_CHALLENGE_TARGET", "", values.origin, "")
        or (f"https://{hosts[0]}" if hosts else ""),
        before_tls=env.choice("BEFORE_TLS", "wait", "serve"),
        http_port=env.read("HTTP_PORT", "80", values.port, 80),
        https_port=https_port,
        status_address=env.read("STATUS_ADDRESS", "", values.address, ""),
        status_port=env.read("STATUS_PORT", "8081", values.port, 8081),
        https_public_port=env.read("HTTPS_PUBLIC_PORT", str(https_port), values.port, https_port),
        http3=http3,
        hsts=env.read("HSTS", "off", values.header, ""),
        log_format=env.choice("LOG_FORMAT", "text", "json"),
        log_level=env.choice("LOG_LEVEL", "info", "debug", "warning", "error"),
        state_dir=env.read("CERTFRONT_STATE_DIR", "/var/lib/certfront", _path, Path()),
        run_dir=env.read("CERTFRONT_RUN_DIR", "/run/certfront", _path, Path()),
        nginx_bin=env.read("NGINX_BIN", "nginx", values.word, "nginx"),
        nginx_conf=nginx_conf,
        key_given=bool(env.text("KEY_FILE")),
    )


def _path(text: str) -> Path:
    return Path(values.path(text))


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
        self.warnings: dict[str, str] = {}
        self.known: set[str] = set()

    def fault(self, name: str, expected: str, found: str) -> None:
        self.faults.append(f"{name}: expected {expected}, found {found!r}")

    def text(self, name: str, default: str = "") -> str:
        """The value; an empty variable counts as unset, as Compose's ``${VAR:-}`` makes them.

        So does one that a container engine made of the name of a service, but with a word.
        """
        self.known.add(name)
        value = self.environ.get(name, "").strip()
        if value and spelling.is_link(name, value):
            service, instead = name.rpartition("_")[0].lower(), f"{default} is used" if default else "it is not set"
            self.warnings[name] = f"{value} only says where a service called {service} is: passed over, {instead}"
            value = ""
        return value or default

    def read(self, name: str, default: str, parse: Callable[[str], T], otherwise: T) -> T:
        text = self.text(name, default)
        try:
            return parse(text) if text else otherwise
        except ValueError as error:
            self.fault(name, str(error), text)
            return otherwise

    def each(self, name: str, parse: Callable[[str], T], default: str = "", *, spaces: bool = True) -> list[T]:
        found = []
        for word in re.split(r"[,\s]+" if spaces else r"\s*,\s*", self.text(name, default)):
            try:
                found += [parse(word)] if word else []
            except ValueError as error:
                self.fault(name, str(error), word)
        return found

    def choice(self, name: str, *values: str) -> str:
        text = self.text(name, values[0]).lower()
        if text not in values:
            self.fault(name, " or ".join(values), text)
        return text

    def refuse_unknown(self) -> None:
        ours = [name for name in self.environ if spelling.is_ours(name) and not self._is_link(name)]
        known = ", ".join(sorted(name for name in self.known if spelling.is_ours(name)))
        for name in sorted(set(ours) - self.known):
            meant = spelling.meant(name, self.known)
            guess = f"did you mean {meant}?" if meant else "a typo?"
            self.faults.append(f"{name}: unknown variable ({guess}); the ones that begin like it are {known}")

    def _is_link(self, name: str) -> bool:
        return spelling.is_link(name, self.environ[name].strip())
