"""News of the user's configuration: each piece once, and only what is news."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from entrypoint.core.conf.configuration import UserConfig
from entrypoint.core.generation.gate import Refusals
from entrypoint.core.generation.news import Line, News
from entrypoint.core.generation.plan import Plan
from entrypoint.core.model import Outcome, Problem
from tests.core.generation.test_rewrite import ROOT, source
from tests.support import rig

FILES = {f"/etc/nginx/{name}.conf": "server { listen 80; }" for name in "abcd"}
INCLUDES = "".join(f"include {name}.conf; " for name in "abcd")
USER = source(f"http {{ {INCLUDES} }}", FILES)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return replace(rig.plan(rig.settings(tmp_path)), user=USER)


def _refused(plan: Plan, *names: str, user: UserConfig = USER) -> Plan:
    places = [server.place for server in user.configuration.servers]
    servers = {place: "no" for place in places if place[0].removeprefix("/etc/nginx/").removesuffix(".conf") in names}
    return replace(plan, user=user, refusals=Refusals(servers=servers))


def test_warnings(plan: Plan) -> None:
    """A warning is said once with its first place, and again when it came back."""
    news, warned = News(USER), replace(plan, remarks=(("/a:1", "odd"), ("/b:1", "odd"), ("/b:2", "old")))
    lines = news.of_live(warned)
    assert [line.level for line in lines] == ["warning"] * 2
    assert lines[0].text == "NGINX warns: /a:1: odd (and 1 places more, see `certfront status`)"
    assert lines[1].text == "NGINX warns: /b:2: old"
    assert news.of_live(warned) == []
    assert news.of_live(replace(warned, remarks=warned.remarks[:1])) == []
    assert news.of_live(plan) == []
    assert len(news.of_live(warned)) == 2


def test_runs_again(plan: Plan) -> None:
    """Of what was refused before, what runs is said, and what was removed is not."""
    news = News(USER)
    assert news.of_live(_refused(plan, "a", "b", "c")) == []
    assert news.of_live(_refused(plan, "b", "c")) == [Line("info", "/etc/nginx/a.conf:1: runs again")]
    removed = source(f"http {{ {INCLUDES} }}", {path: text for path, text in FILES.items() if "/b." not in path})
    assert news.of_live(_refused(plan, "c", user=removed)) == []
    assert news.of_live(_refused(plan, user=removed)) == [Line("info", "/etc/nginx/c.conf:1: runs again")]


def test_a_change() -> None:
    """The files that changed are named, three at the most; what is the same is no change."""
    news, edited = News(USER), source(f"http {{ {INCLUDES} }}", {path: f"{text} " for path, text in FILES.items()})
    assert news.of_change(USER, 2) == []
    (line,) = news.of_change(edited, 3)
    first = ", ".join(sorted(FILES)[:3])
    assert line == Line("info", f"the change of {first} and 1 more is live: generation 3")
    assert news.of_change(replace(edited), 4) == []
    assert news.of_change(source("http { }"), 5)[0].text.startswith(f"the change of {min(FILES)}")
    assert News(replace(USER, packaged=True)).of_change(source("http { }"), 6) == [
        Line("info", f"the change of {ROOT} is live: generation 6")
    ]


def test_refused_as_a_whole() -> None:
    """A refusal is said once, unless the start has said it; so is its end."""
    problem = Problem(Outcome.CONFIG_REJECTED, "no")
    news = News(USER)
    assert news.of_whole(None) == []
    said = [Line("error", "the configuration is refused as a whole: no; what ran last is kept")]
    assert news.of_whole(problem) == said
    assert news.of_whole(problem) == []
    assert news.of_whole(None) == [Line("info", "the configuration is accepted again")]
    assert News(USER, "no").of_whole(problem) == []
