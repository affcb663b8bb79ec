"""What /etc/hosts and /etc/resolv.conf say to NGINX, which reads neither of them."""

from __future__ import annotations


def nameservers(resolv_conf: str) -> tuple[str, ...]:
    """The name servers, without scoped addresses such as fe80::1%eth0, which NGINX does not understand."""
    lines = _fields(resolv_conf)
    return tuple(words[1] for words in lines if words[0] == "nameserver" and len(words) > 1 and "%" not in words[1])


def addresses(hosts: str) -> dict[str, str]:
    """Host names to addresses, IPv4 preferred."""
    found: dict[str, str] = {"localhost": "127.0.0.1"}
    for address, *names in sorted(_fields(hosts), key=lambda words: ":" in words[0]):
        for name in names:
            found.setdefault(name.lower(), address)
    return found


def _fields(text: str) -> list[list[str]]:
    return [words for line in text.splitlines() if (words := line.partition("#")[0].split())]
