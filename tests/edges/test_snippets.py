"""The packaged snippets in the user's own configuration: NGINX accepts each wherever its comment says it belongs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from entrypoint.core.generation.plan import Plan
from entrypoint.core.generation.site import packaged_config
from entrypoint.edges import nginx, packaged
from entrypoint.edges.config_files import ConfigFiles
from tests.support import rig

PLACES = {
    "acme-challenge": ("server",),
    "https-redirect": ("server",),
    "hsts": ("server", "location"),
    "proxy": ("server", "location"),
    "tls": ("http", "server"),
    "websockets": ("server", "location"),
}
PROGRAMS = [pytest.param(rig.NEW, id="new"), pytest.param(rig.DEBIAN, id="old", marks=pytest.mark.old_nginx)]
ALONE = [(name, place) for name, places in PLACES.items() for place in places]
SETTINGS: dict[str, dict[str, str | None]] = {
    "redirect": {},
    "proxy": {"ACME_CHALLENGE": "proxy"},
    "off": {"ACME_CHALLENGE": "off"},
    "no CertMgr": {"CERTMGR_HOST": None},
    "no CertMgr, proxy": {"CERTMGR_HOST": None, "ACME_CHALLENGE": "proxy"},
    "HSTS": {"HSTS": "max-age=600; includeSubDomains"},
}
# Nothing around them helps: no resolver, no map, no log format.
ROOT = """events {{ }}
http {{
    access_log off;
    {http}
    server {{
        listen 127.0.0.1:18180;
        listen 127.0.0.1:18543 ssl;
        ssl_reject_handshake on;
        {server}
        location /app/ {{
            {location}
            proxy_pass http://127.0.0.1:1;
        }}
    }}
}}
"""


def _plan(folder: Path, program: str, used: Iterable[tuple[str, str]], **variables: str | None) -> Plan:
    """What a program runs of a configuration that includes snippets at places."""
    lines: dict[str, str] = dict.fromkeys(("http", "server", "location"), "")
    for name, place in used:
        lines[place] += f"include snippets/{name}.conf; "
    root = folder / "etc" / "nginx.conf"
    root.parent.mkdir()
    root.write_text(ROOT.format(**lines))
    chosen = rig.settings(folder, SERVER_NAME=None, NGINX_CONF=str(root), **variables)
    known, templates = rig.facts(nginx.build(program).version), packaged.packaged()
    user = ConfigFiles(chosen, packaged_config(chosen, known, templates)).read()
    assert user
    assert not user.configuration.faults
    return Plan(chosen, known, templates, {}, {}, user)


def _accepted(folder: Path, program: str, used: Iterable[tuple[str, str]], **variables: str | None) -> None:
    plan = _plan(folder, program, used, **variables)
    assert plan.gate.commented_out == {}
    rig.run_folders(plan.settings.run_dir)
    nginx.test(program, rig.write(folder / "generation", plan.files(1)))


def test_all_of_them() -> None:
    """Every snippet is tried here, and begins with what it does and where it belongs."""
    found = {Path(path).stem: text for path, text in packaged.packaged().items() if path.startswith("snippets/")}
    assert set(found) == set(PLACES)
    for text in found.values():
        comment = " ".join(line for line in text.splitlines() if line.startswith("#"))
        assert text.startswith("# ")
        assert "# Include it " in comment


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(("name", "place"), ALONE)
def test_alone(name: str, place: str, program: str, tmp_path: Path) -> None:
    """Each is accepted without any other."""
    _accepted(tmp_path, program, [(name, place)])


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("variables", SETTINGS.values(), ids=SETTINGS)
def test_together(variables: Mapping[str, str | None], program: str, tmp_path: Path) -> None:
    """All of them in one server are accepted, in every way of ACME_CHALLENGE."""
    _accepted(tmp_path, program, [(name, "server") for name in PLACES], **variables)


@pytest.mark.parametrize("program", PROGRAMS)
def test_everywhere(program: str, tmp_path: Path) -> None:
    """All of them are accepted at all of their places at once."""
    _accepted(tmp_path, program, ALONE)


def test_a_file_of_the_users_own(tmp_path: Path) -> None:
    """A file of the same name in the user's folder goes before the packaged one."""
    own = tmp_path / "etc" / "snippets" / "tls.conf"
    plan = _plan(tmp_path, rig.NEW, [("tls", "server")])
    assert "Mozilla" in plan.texts(1)[f"source{own}"]
    own.parent.mkdir()
    own.write_text("ssl_protocols TLSv1.3;\n")
    user = ConfigFiles(plan.settings, packaged_config(plan.settings, plan.facts, plan.templates)).read()
    assert user
    assert user.texts[str(own)] == "ssl_protocols TLSv1.3;\n"
