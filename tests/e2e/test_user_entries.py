"""What lies among the user's files and is none takes nothing down, from the start on or live."""

from __future__ import annotations

import os

from tests.support.user import SERVER, User


def test_no_files_among_the_files(user: User) -> None:
    """A folder at the start, a dangling link and a FIFO live: all sites are served on, and each is named."""
    conf_d = user.etc / "conf.d"
    for name in ("a.acme.io", "c.acme.io"):
        user.site(name, own=True)
    (conf_d / "b.acme.io.conf").mkdir()
    user.start()
    for name in ("a.acme.io", "c.acme.io"):
        user.until(lambda name=name: user.entry(name).get("state") == "serving", f"the proof of {name}")  # type: ignore[misc]
    user.until(user.plain, "the plain server")
    assert user.commented_out() == {"b.acme.io.conf": "is a folder, not a file"}
    before = user.generation()
    (conf_d / "d.conf").symlink_to("nowhere")
    os.mkfifo(conf_d / "e.conf")
    user.until(lambda: set(user.commented_out()) == {"b.acme.io.conf", "d.conf", "e.conf"}, "all three")
    assert user.generation() == before
    assert user.plain()
    (conf_d / "b.acme.io.conf").rmdir()
    issued = user.site("b.acme.io", own=True)
    user.until(lambda: user.serves(issued, "b.acme.io"), "the file in the folder's place")
    user.tested()


def test_an_entry_in_a_server(user: User) -> None:
    """A server whose own pattern matches a folder runs without it."""
    issued = user.site("a.acme.io", own=True)
    (user.etc / "a.d" / "x.conf").mkdir(parents=True)
    (user.etc / "a.d" / "y.conf").write_text("add_header X-Y y;\n")
    user.put_file(
        "conf.d/a.acme.io.conf", SERVER.replace("return", "include a.d/*.conf;\n    return"), name="a.acme.io"
    )
    user.start()
    user.until(lambda: user.serves(issued, "a.acme.io"), "its certificate")
    user.until(lambda: user.commented_out() == {"x.conf": "is a folder, not a file"}, "its name")
