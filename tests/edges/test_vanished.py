"""A folder of the user's that cannot be listed any more is not an empty one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from entrypoint.core.model import Refused
from entrypoint.edges.configuration import UserConfiguration
from tests.faults import rig


@pytest.fixture
def etc() -> Iterator[Path]:
    """Where nobody may go as well."""
    folder = Path(tempfile.mkdtemp(prefix="certfront-vanished-"))
    folder.chmod(0o755)
    for name in ("conf.d", "sites"):
        (folder / name).mkdir()
        (folder / name / "a.conf").write_text(f"server {{ listen 80; server_name {name}; }}")
    (folder / "nginx.conf").write_text("http { include conf.d/*.conf; include sites/*; include none/*; }")
    yield folder
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


def _names(user: UserConfiguration) -> set[str]:
    source = user.read()
    assert source is not None
    return {name for server in source.configuration.servers for name in server.names}


@pytest.mark.parametrize("name", ["conf.d", "sites"])
def test_closed(name: str, etc: Path) -> None:
    """It is refused, named with its include, for as long as it lasts; then all is as before."""
    user = UserConfiguration(rig.settings(etc, NGINX_CONF=str(etc / "nginx.conf")), {})
    assert _names(user) == {"conf.d", "sites"}
    mode = (etc / name).stat().st_mode
    (etc / name).chmod(0o311)
    with _as_nobody():
        for _ in range(2):
            with pytest.raises(Refused, match=rf"{etc}/{name} cannot be listed .*{name}/\*.* led to 1 files before"):
                user.read()
    (etc / name).chmod(mode)
    with _as_nobody():
        assert _names(user) == {"conf.d", "sites"}


@pytest.mark.parametrize("how", ["emptied", "removed", "never there"])
def test_meant(how: str, etc: Path) -> None:
    """What somebody removed is gone, and a folder that never led to a file is nobody's business."""
    user = UserConfiguration(rig.settings(etc, NGINX_CONF=str(etc / "nginx.conf")), {})
    if how == "never there":
        (etc / "sites").chmod(0o311)
        with _as_nobody():
            assert _names(user) == {"conf.d"}
        return
    assert _names(user) == {"conf.d", "sites"}
    (etc / "sites" / "a.conf").unlink()
    if how == "removed":
        (etc / "sites").rmdir()
    with _as_nobody():
        assert _names(user) == {"conf.d"}
