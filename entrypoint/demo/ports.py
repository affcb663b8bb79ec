"""Free ports, for several stages on one machine at once."""

from __future__ import annotations

import secrets
import socket

_FIRST, _COUNT = 10_000, 20_000  # below those that the kernel gives to other programs unasked


class Ports:
    """Free TCP ports, each reserved against other callers of this class until released."""

    def __init__(self, count: int) -> None:
        self._claims: dict[int, socket.socket] = {}
        while len(self._claims) < count:
            self._claim(_FIRST + secrets.randbelow(_COUNT))

    @property
    def numbers(self) -> tuple[int, ...]:
        """The port numbers."""
        return tuple(self._claims)

    def release(self) -> None:
        """Release the ports; the kernel does so as well when the process ends."""
        for claim in self._claims.values():
            claim.close()

    def _claim(self, port: int) -> None:
        """Reserve a port, which a program binds later, by an abstract UNIX socket name (unix(7))."""
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0certfront-port-{port}")
            socket.create_server(("", port)).close()
            self._claims[port] = claim
        except OSError:
            claim.close()


def are_free(*ports: int) -> bool:
    """Whether no process listens on any of these ports now."""
    try:
        for port in ports:
            socket.create_server(("", port)).close()
    except OSError:
        return False
    return True
