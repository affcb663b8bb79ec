"""What becomes of the user's configuration is in the log: a change, a refusal and a repair, each once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import pytest

from tests.support.user import ROOT, SERVER, User

NAME = "own.acme.io"
TYPOS = ["bogus on;\n", "load_module nowhere.so;\n", "}}\n"]


@pytest.fixture
def served(user: User) -> User:
    """One site that is served."""
    user.site(NAME, own=True)
    user.start()
    user.until(lambda: user.entry(NAME).get("state") == "serving", "the proof")
    return user


def _problem(user: User) -> str:
    return str(user.report().get("configuration", {}).get("problem", ""))


def _checked(user: User) -> str:
    """The log after two more checks."""
    for _ in range(2):
        user.check()
    return user.log()


def test_a_change_and_a_refused_part(served: User) -> None:
    """A change that is live, a part that is refused, and the same part running again: one line each."""
    served.put_file(f"conf.d/{NAME}.conf", SERVER.replace("return", "etag off;\n    return"), name=NAME)
    place = f"{served.etc}/conf.d/{NAME}.conf"
    served.until(lambda: f"the change of {place} is live: generation" in served.log(), "the change")
    served.put_file(f"conf.d/{NAME}.conf", SERVER.replace("return", "bogus on; return"), name=NAME)
    served.until(served.commented_out, "the refusal")
    log = _checked(served)
    assert log.count('NGINX refuses a part: unknown directive "bogus"') == 1
    assert "runs again" not in log
    served.put_file(f"conf.d/{NAME}.conf", SERVER, name=NAME)
    served.until(lambda: served.entry(NAME)["state"] == "serving", "the repaired one")
    assert _checked(served).count(f"{place}:1: runs again") == 1


@pytest.fixture(scope="module")
def faulty() -> Iterator[Mapping[tuple[str, bool], tuple[User, int]]]:
    """A front for each typo, at its first start and at a later one, and how long its log was: all start together."""
    with ExitStack() as stack:
        found = {key: stack.enter_context(User()) for key in itertools.product(TYPOS, (True, False))}
        for user in found.values():
            user.site(NAME, own=True)
        later = [user for (_, first), user in found.items() if not first]
        for user in later:
            user.start()
        for user in later:
            user.until(lambda user=user: user.entry(NAME).get("state") == "serving", "the proof")  # type: ignore[misc]
            user.kill()
        started = {}
        for key, user in found.items():
            user.put_file("nginx.conf", key[0] + ROOT)
            started[key] = user, len(user.log())
            user.start()
        yield started


@pytest.mark.xdist_group("e2e-user-news")
@pytest.mark.parametrize("typo", TYPOS)
@pytest.mark.parametrize("first", [True, False])
def test_a_start_with_a_fault(faulty: Mapping[tuple[str, bool], tuple[User, int]], typo: str, first: bool) -> None:
    """A fault of the root file is in the log once for a start, however the start goes on; so is its repair."""
    user, before = faulty[typo, first]
    user.until(lambda: "nginx.conf:1" in _problem(user), "the problem")
    user.until(lambda: user.report()["nginx"].get("version"), "the agent")
    problem, generation = _problem(user), user.generation()
    for _ in range(3):
        user.command("refresh")
    assert user.generation() == generation
    assert user.log()[before:].count(problem) == 1
    assert " is live: generation" not in user.log()[before:]
    user.put_file("nginx.conf", ROOT)
    user.until(lambda: user.entry(NAME).get("state") == "serving", "the proof")
    user.until(lambda: _problem(user) == "", "no problem")
    assert user.log()[before:].count("the configuration is accepted again") == 1
    user.stop()


@pytest.mark.parametrize("typo", TYPOS)
def test_refused_as_a_whole(served: User, typo: str) -> None:
    """A fault of the root file is in the status and, once, in the log; what ran goes on; so is the repair."""
    served.put_file("nginx.conf", typo + ROOT)
    served.until(lambda: served.report()["configuration"]["problem"], "the problem")
    problem = served.report()["configuration"]["problem"]
    assert f"{served.etc}/nginx.conf:1" in problem
    assert _checked(served).count(problem) == 1
    assert served.plain()
    served.put_file("nginx.conf", ROOT)
    served.until(lambda: served.report()["configuration"]["problem"] == "", "no problem")
    assert _checked(served).count("the configuration is accepted again") == 1
