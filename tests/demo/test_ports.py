"""Free ports: nobody listens on them, and nobody else gets them."""

from __future__ import annotations

import socket
from itertools import chain

from entrypoint.demo.ports import Ports


def test_nobody_else_gets_them() -> None:
    """Each is given once as long as it is claimed, and one on which somebody listens never."""
    claims = [Ports(3) for _ in range(50)]
    numbers = list(chain.from_iterable(claim.numbers for claim in claims))
    assert len(set(numbers)) == 150
    for claim in claims:
        claim.release()
    with socket.create_server(("", numbers[0])):
        again = Ports(1)
        again._claim(numbers[0])
        again._claim(numbers[1])
        assert again.numbers[1:] == (numbers[1],)
        again.release()
