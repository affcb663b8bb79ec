"""The environment variables, read once into a frozen and checked value.

All errors are found before any is reported: see `SettingsError`. The variables are described in the README.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from entrypoint.core import doubts, values
from entrypoint.core.doubts import of_settings
from entrypoint.core.settings import Settings

T = TypeVar("T")


class SettingsError(Exception):
    """All errors of the settings, a line each: variable, expected value, found value."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def from_environment(environ: Mapping[str, str]) -> Settings:
    """Read the settings. Raises `SettingsError` with all errors."""
    reader = _Reader(environ)
    settings = _read(reader)
    reader.refuse_unknown()
    _refuse_shared_ports(settings, reader)
    if reader.faults:
        raise SettingsError(reader.faults)
    return replace(settings, warnings=(*reader.warnings.items(), *of_settings(settings)))


def near_misses(environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Unknown variables that resemble certfront's, each with that variable: see `core.doubts`."""
    reader = _Reader(environ)
    _read(reader)
    return tuple(doubts.near_misses(environ, reader.known))


def _path(text: str) -> Path:
    return Path(values.path(text))


# Fields of the settings that one variable each sets: its name, its default, and what reads its value.
_VARIABLES: Mapping[str, tuple[str, str, Callable[[str], object]]] = {
    "nginx_conf": ("NGINX_CONF", "/etc/nginx/nginx.conf", _path),
    "certmgr_lookup": ("CERTMGR_LOOKUP", "", values.lookup),
    "check_interval": ("CERTMGR_CHECK_INTERVAL", "300", values.interval),
    "timeout": ("CERTMGR_TIMEOUT", "10", values.seconds),
    "trusted_roots_file": ("TRUSTED_ROOTS_FILE", "", values.roots),
    "upstream": ("UPSTREAM", "", values.upstream),
    "key_password_file": ("KEY_PASSWORD_FILE", "/etc/nginx/ssl_pw.txt", _path),
    "http_port": ("HTTP_PORT", "80", values.port),
    "https_port": ("HTTPS_PORT", "443", values.port),
    "status_address": ("STATUS_ADDRESS", "", values.address),
    "status_port": ("STATUS_PORT", "8081", values.port),
    "hsts": ("HSTS", "off", values.header),
    "state_dir": ("CERTFRONT_STATE_DIR", "/var/lib/certfront", _path),
    "run_dir": ("CERTFRONT_RUN_DIR", "/run/certfront", _path),
    "nginx_bin": ("NGINX_BIN", "nginx", values.word),
}
# Those with one word of several, the default first.
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "key_unlock": ("KEY_UNLOCK", "nginx", "memory"),
    "acme_challenge": ("ACME_CHALLENGE", "redirect", "proxy", "off"),
    "before_tls": ("BEFORE_TLS", "wait", "serve"),
    "log_format": ("LOG_FORMAT", "text", "json"),
    "log_level": ("LOG_LEVEL", "info", "debug", "warning", "error"),
}


def _read(env: _Reader) -> Settings:
    found: dict[str, Any] = {field: env.read(*each) for field, each in _VARIABLES.items()}
    found |= {field: env.choice(*each) for field, each in _CHOICES.items()}
    hosts = tuple(env.each("CERTMGR_HOST", values.endpoint))
    target = env.read("ACME_CHALLENGE_TARGET", "", values.origin)
    return Settings(
        certmgr_hosts=hosts,
        server_names=tuple(dict.fromkeys(env.each("SERVER_NAME", values.host_name))),
        key_files=_key_files(env),
        key_given=bool(env.text("KEY_FILE")),
        acme_challenge_target=target or (f"https://{hosts[0]}" if hosts else ""),
        https_public_port=env.read("HTTPS_PUBLIC_PORT", str(found["https_port"]), values.port),
        http3=env.choice("HTTP3", "off", "on") == "on",
        **found,
    )


def _key_files(env: _Reader) -> tuple[Path, ...]:
    faults = len(env.faults)
    files = tuple(env.each("KEY_FILE", _path, "/etc/nginx/key.pem", spaces=False))
    countable = len(env.faults) == faults
    if countable and (not 1 <= len(files) <= 2 or len(set(files)) < len(files)):
        env.fault("KEY_FILE", "one key file, or two different ones (RSA and ECDSA)", env.text("KEY_FILE"))
    return files


def _refuse_shared_ports(settings: Settings, env: _Reader) -> None:
    ports = {"HTTP_PORT": settings.http_port, "HTTPS_PORT": settings.https_port, "STATUS_PORT": settings.status_port}
    for name, port in ports.items():
        others = [other for other, number in ports.items() if number == port and other < name]
        if others:
            env.fault(name, f"a port that {' and '.join(others)} does not use", str(port))


class _Reader:
    """A reader of single variables that collects their errors."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.faults: list[str] = []
        self.warnings: dict[str, str] = {}
        self.known: set[str] = set()

    def fault(self, name: str, expected: str, found: str) -> None:
        self.faults.append(f"{name}: expected {expected}, found {found!r}")

    def text(self, name: str, default: str = "") -> str:
        """The value; an empty variable counts as unset, as Compose's ``${VAR:-}`` makes them.

        A variable that a container engine made for a linked service counts as unset too, with a warning.
        """
        self.known.add(name)
        value = self.environ.get(name, "").strip()
        if value and doubts.is_link(name, value):
            service, instead = name.rpartition("_")[0].lower(), f"{default} is used" if default else "it is not set"
            self.warnings[name] = f"{value} only says where a service called {service} is: passed over, {instead}"
            value = ""
        return value or default

    def read(self, name: str, default: str, parse: Callable[[str], object]) -> Any:
        """The parsed value, or that of the default; empty where both are."""
        text = self.text(name, default)
        try:
            return parse(text) if text else ""
        except ValueError as error:
            self.fault(name, str(error), text)
            return parse(default) if default else ""

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
        ours = [name for name in self.environ if doubts.is_ours(name) and not self._is_link(name)]
        known = ", ".join(sorted(name for name in self.known if doubts.is_ours(name)))
        for name in sorted(set(ours) - self.known):
            meant = doubts.meant(name, self.known)
            guess = f"did you mean {meant}?" if meant else "a typo?"
            self.faults.append(f"{name}: unknown variable ({guess}); the ones that begin like it are {known}")

    def _is_link(self, name: str) -> bool:
        return doubts.is_link(name, self.environ[name].strip())
