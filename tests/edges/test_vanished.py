"""What was read before and cannot be read any more is not gone, as long as nobody removed it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from entrypoint.core.conf.vanished import Ran
from entrypoint.core.model import Refused
from entrypoint.edges.config_files import ConfigFiles
from tests.support import rig

NAMES = {"conf.d", "sites", "alone", "many1", "many2"}


@pytest.fixture
def etc() -> Iterator[Path]:
    """Where nobody may go as well."""
    folder = Path(tempfile.mkdtemp(prefix="certfront-vanished-"))
    folder.chmod(0o755)
    for place in ("conf.d", "sites", "alone", "many/1", "many/2"):
        (folder / place).mkdir(parents=True)
        (folder / place / "a.conf").write_text(f"server {{ listen 80; server_name {place.replace('/', '')}; }}")
    (folder / "nginx.conf").write_text(
        "http { include conf.d/*.conf; include sites/*; include none/*; include alone/a.conf; include many/*/a.conf; }"
    )
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@contextmanager
def _as_nobody() -> Iterator[None]:
    """Root may list everything."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def _user(etc: Path, ran: Ran | None = None) -> ConfigFiles:
    return rig.config_files(rig.settings(etc, NGINX_CONF=str(etc / "nginx.conf")), ran)


def _names(user: ConfigFiles) -> set[str]:
    source = user.read()
    assert source is not None
    return {name for server in source.configuration.servers for name in server.names}


# What is closed, from which mode on, and what is said of it.
CLOSED = {
    "a folder that cannot be listed": (
        "sites",
        0o311,
        r"/sites/a.conf \(with sites\) cannot be found: .*/sites cannot",
    ),
    "the folder of the usual pattern": ("conf.d", 0o311, r"/conf.d/a.conf \(with conf.d\) cannot be found"),
    "a folder that nobody enters": ("sites", 0, r"/sites/a.conf \(with sites\) cannot be reached by uid"),
    "a file": ("conf.d/a.conf", 0, r"/conf.d/a.conf \(with conf.d\) cannot be read by uid"),
    "the folder of a file that is named alone": ("alone", 0, r"/alone/a.conf \(with alone\) cannot be reached by uid"),
    "one folder of several": ("many/1", 0, r"/many/1/a.conf \(with many1\) cannot be reached"),
    "the folder of several": ("many", 0o311, r"/many/1/a.conf \(with many1\) .*, and .*/many/2/a.conf \(with many2\)"),
}


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("what", CLOSED)
def test_closed(what: str, etc: Path, *, restarted: bool) -> None:
    """It is refused by name for as long as it lasts, over a restart as well; then all is as before."""
    name, mode, said = CLOSED[what]
    user = _user(etc)
    with _as_nobody():
        assert _names(user) == NAMES
    if restarted:
        kept = json.loads(json.dumps(user.read().as_json()))
        user = _user(etc, Ran(kept["texts"], kept["matches"]))
    before = (etc / name).stat().st_mode
    (etc / name).chmod(mode)
    with _as_nobody():
        for _ in range(2):
            with pytest.raises(Refused, match=rf"{said}.*not meant to be gone"):
                user.read()
    (etc / name).chmod(before)
    with _as_nobody():
        assert _names(user) == NAMES


def test_a_closed_root(etc: Path) -> None:
    """What lies in a closed folder is there: the packaged configuration does not take its place."""
    user = _user(etc)
    etc.chmod(0)
    with _as_nobody(), pytest.raises(Refused, match=r"NGINX_CONF: .*/nginx\.conf cannot be read by uid"):
        user.read()


def _a_folder(etc: Path) -> None:
    (etc / "sites" / "a.conf").unlink()
    (etc / "sites" / "a.conf").mkdir()


def _a_dangling_link(etc: Path) -> None:
    (etc / "sites" / "a.conf").unlink()
    (etc / "sites" / "a.conf").symlink_to("none")


def _no_include(etc: Path) -> None:
    (etc / "nginx.conf").write_text((etc / "nginx.conf").read_text().replace("include sites/*;", ""))
    (etc / "sites").chmod(0)


MEANT: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "emptied": (lambda etc: (etc / "sites" / "a.conf").unlink(), {"sites"}),
    "removed": (lambda etc: shutil.rmtree(etc / "sites"), {"sites"}),
    "a folder in its place": (_a_folder, {"sites"}),
    "a dangling link in its place": (_a_dangling_link, {"sites"}),
    "not included any more, and closed": (_no_include, {"sites"}),
    "without a server": (lambda etc: (etc / "sites" / "a.conf").write_text("# none"), {"sites"}),
    "one of several": (lambda etc: shutil.rmtree(etc / "many" / "1"), {"many1"}),
}


@pytest.mark.parametrize("how", MEANT)
def test_meant(how: str, etc: Path) -> None:
    """What somebody removed, or put something else in place of, is gone."""
    user = _user(etc)
    assert _names(user) == NAMES
    change, gone = MEANT[how]
    change(etc)
    with _as_nobody():
        assert _names(user) == NAMES - gone


def test_never_there(etc: Path) -> None:
    """A folder that never led to a file is nobody's business."""
    (etc / "sites").chmod(0o311)
    with _as_nobody():
        assert _names(_user(etc)) == NAMES - {"sites"}
