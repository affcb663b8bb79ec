"""The packaged configuration."""

from __future__ import annotations

from entrypoint.edges import packaged
from tests.support import rig


def test_packaged() -> None:
    """Everything below `nginx/` is there by its path, as text."""
    found = packaged.packaged()
    folder = rig.ROOT / "nginx"
    assert set(found) == {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"nginx.conf", "mime.types", "templates/site-tls.conf", "snippets/tls.conf"} <= set(found)
    assert all(found[name] == (folder / name).read_text() for name in found)
