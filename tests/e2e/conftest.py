"""What several of these tests begin with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.user import User


@pytest.fixture
def user() -> Iterator[User]:
    """A front with a configuration of the user's, not started yet."""
    with User() as user:
        yield user
