"""Facts of the machine and of its NGINX, which the configuration depends on.

NGINX reads neither /etc/hosts nor /etc/resolv.conf: what they say is written into its configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Facts:
    """The features of the machine and of its NGINX. ``user`` is the argument of a ``user`` directive, or empty.

    ``http3`` may also be False where nobody asks for it. ``openssl`` is the version of NGINX's OpenSSL, empty for
    another library. ``nofile`` is the limit of descriptors for a process, 0 for none. ``outputs`` are NGINX's usual log
    files that are links to standard output or error.
    """

    nginx_version: tuple[int, int, int]
    ipv6: bool
    user: str
    access_log: bool
    nameservers: tuple[str, ...]
    hosts: Mapping[str, str] = field(default_factory=dict)
    http3: bool = False
    temp_dir: str = ""
    openssl: tuple[int, ...] = ()
    nofile: int = 0
    outputs: frozenset[str] = frozenset()

    def temporary(self, run_dir: object) -> str:
        """The folder for NGINX's temporary files: ``temp_dir``, or below the run folder where that is empty."""
        return self.temp_dir or f"{run_dir}/nginx"


def nameservers(resolv_conf: str) -> tuple[str, ...]:
    """The name servers in resolv.conf, without scoped addresses (fe80::1%eth0), which NGINX does not understand."""
    lines = _fields(resolv_conf)
    return tuple(words[1] for words in lines if words[0] == "nameserver" and len(words) > 1 and "%" not in words[1])


def addresses(hosts: str) -> dict[str, str]:
    """The host names in a hosts file with their addresses, IPv4 preferred."""
    found: dict[str, str] = {"localhost": "127.0.0.1"}
    for address, *names in sorted(_fields(hosts), key=lambda words: ":" in words[0]):
        for name in names:
            found.setdefault(name.lower(), address)
    return found


def _fields(text: str) -> list[list[str]]:
    return [words for line in text.splitlines() if (words := line.partition("#")[0].split())]
