"""Free ports, for several stages on one machine at once."""

from __future__ import annotations

import secrets
import socket

_FIRST, _COUNT = 10_000, 20_000  # below those that the kernel gives to other programs unasked


class Ports:
    """TCP ports that nobody listens on. Until they are released, nobody else who asks here gets one of them."""

    def __init__(self, count: int) -> None:
        self._claims: dict[int, socket.socket] = {}
        while len(self._claims) < count:
            self._claim(_FIRST + secrets.randbelow(_COUNT))

    @property
    def numbers(self) -> tuple[int, ...]:
        """The ports."""
        return tuple(self._claims)

    def release(self) -> None:
        """Give them back; the kernel does so as well when the process ends."""
        for claim in self._claims.values():
            claim.close()

    def _claim(self, port: int) -> None:
        """By a name in the kernel's abstract namespace (unix(7)), as programs start to listen some time later."""
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0certfront-port-{port}")
            socket.create_server(("", port)).close()
            self._claims[port] = claim
        except OSError:
            claim.close()
