"""The settings as frozen values; ``entrypoint.environment`` reads them from the environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from entrypoint.core.names import concrete

if TYPE_CHECKING:
    from pathlib import Path

HTTPS = 443
NGINX_SOCKET = "nginx.sock"  # in the run folder: where certfront asks its own NGINX, and nobody else listens
REFUSALS = "refusals.log"  # what NGINX says in emergencies, in the run folder


@dataclass(frozen=True)
class Endpoint:
    """A TCP endpoint: host name (A-labels) or IP address, and port."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == HTTPS else f"{host}:{self.port}"


@dataclass(frozen=True)
class Settings:
    """The user's settings. Times are seconds; names are A-labels in lower case.

    ``warnings`` are about variables with a valid but suspicious value; ``key_given``: whether ``KEY_FILE`` is set.
    """

    certmgr_hosts: tuple[Endpoint, ...]
    certmgr_lookup: str
    check_interval: float
    timeout: float
    trusted_roots_file: str
    server_names: tuple[str, ...]
    upstream: str
    key_files: tuple[Path, ...]
    key_password_file: Path
    key_unlock: str
    acme_challenge: str
    acme_challenge_target: str
    before_tls: str
    http_port: int
    https_port: int
    status_port: int
    https_public_port: int
    http3: bool
    hsts: str
    log_format: str
    log_level: str
    state_dir: Path
    run_dir: Path
    nginx_bin: str
    nginx_conf: Path
    status_address: str = ""
    key_given: bool = field(default=False, compare=False)
    warnings: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    @property
    def site_name(self) -> str:
        """The site's first concrete name, or ``www`` in its first wildcard's domain: the SNI name of a visitor."""
        return concrete(self.server_names) or "".join(f"www.{name[2:]}" for name in self.server_names[:1])

    @property
    def lookup(self) -> str:
        """The SNI name to ask CertMgr for."""
        return self.certmgr_lookup or self.site_name
