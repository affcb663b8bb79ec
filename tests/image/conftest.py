"""The engine, the stand-in base and the image: made once for all tests here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .engine import IMAGE, ROOT, Engine, make_base
from .lab import Lab


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """With the image built from the working tree, by the shipped Dockerfile."""
    with Engine(request.config.getoption("--engine")) as engine:
        make_base(engine)
        engine.build(IMAGE, ROOT)
        yield engine


@pytest.fixture
def lab(engine: Engine) -> Iterator[Lab]:
    with Lab(engine) as lab:
        yield lab
