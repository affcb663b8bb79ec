"""Which tests run: what needs nothing but .venv; with more, ``make test-all``; the pure ones, ``make test-fast``."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

NEEDS = {
    "acme": "needs an ACME server: make test-all",
    "browser": "needs a browser: make test-all",
    "engine": "needs a container engine: make test-all",
    "old_nginx": "needs Debian's own NGINX: make test-all",
}
# Where the pure tests are: they start no program, but for those that are marked so.
PURE = (
    "core",
    *(f"test_{name}.py" for name in ("alive", "architecture", "check", "cli", "documents", "doubts", "environment")),
)
SLOW = ("fuzz", "process")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the options that ``make test-all`` uses."""
    parser.addoption("--all", action="store_true", help="also run the tests that need more than .venv")
    parser.addoption("--rest", action="store_true", help="run only the tests that need more than .venv")
    parser.addoption("--fast", action="store_true", help="run only the pure tests")
    parser.addoption(
        "--engine", default="", metavar="HOST", help="a running container engine, instead of one of our own"
    )


def _is_pure(path: Path) -> bool:
    return any(path.is_relative_to(Path(__file__).parent / part) for part in PURE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With ``--fast``, what is not pure is not even imported."""
    wanted = not config.getoption("--fast") or collection_path.suffix != ".py" or _is_pure(collection_path)
    return None if wanted else True


@pytest.hookimpl(tryfirst=True)  # before xdist looks for groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips the tests with needs, or (with ``--rest``) leaves out all others."""
    chosen = [item for item in items if _needs(item) or not config.getoption("--rest")]
    if config.getoption("--fast"):
        chosen = [item for item in chosen if not any(item.get_closest_marker(mark) for mark in SLOW)]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen
    for item in items:
        for need in _needs(item):
            item.add_marker(_fate(config, need))


def _needs(item: pytest.Item) -> list[str]:
    return [need for need in NEEDS if item.get_closest_marker(need)]


def _fate(config: pytest.Config, need: str) -> pytest.MarkDecorator:
    if config.getoption("--all") or config.getoption("--rest"):
        return pytest.mark.xdist_group(need)  # what all of them share is started once
    return pytest.mark.skip(reason=NEEDS[need])


@pytest.fixture(autouse=True)
def pure(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pure test that starts a program without the mark fails."""
    if _is_pure(request.path) and not request.node.get_closest_marker("process"):
        monkeypatch.setattr(subprocess, "Popen", _refused)


def _refused(*_: object, **__: object) -> NoReturn:
    raise AssertionError("this test starts a program: mark it with pytest.mark.process")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """With ``--rest``, no test at all is no failure: then ``make test`` has run everything."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and session.config.getoption("--rest"):
        session.exitstatus = pytest.ExitCode.OK


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Says at the very end how many tests were left out, and how to run them."""
    yield
    reasons = [report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.getreports("skipped")]
    for reason, count in sorted(Counter(reasons).items()):
        if reason in NEEDS.values():
            terminalreporter.write_line(f"Left out: {count} test{'s' if count > 1 else ''} ({reason})")
