"""The cipher profile of HCL's own example: the server comes up with a warning, and is not tried again and again."""

from __future__ import annotations

from tests.support.user import SERVER, User

EXAMPLE = SERVER.replace("{https} ssl;", "{https} ssl http2;\n    ssl_ciphers PROFILE=SYSTEM;")


def test_a_profile_of_red_hats(user: User) -> None:
    """The server is served with NGINX's default ciphers; neither checks nor a restart make another generation."""
    issued = user.site("a.acme.io")
    user.put_file("conf.d/a.acme.io.conf", EXAMPLE, name="a.acme.io")
    user.start()
    user.until(lambda: user.entry("a.acme.io").get("outcome") == "wrong-name", "a check")
    user.give(issued, "a.acme.io")
    user.until(lambda: user.entry("a.acme.io").get("state") == "serving", "the proof")
    assert user.serves(issued, "a.acme.io")
    assert user.commented_out() == {}
    assert user.warnings()["a.acme.io.conf:3"].startswith("PROFILE=SYSTEM is a cipher profile of Red Hat's OpenSSL")
    user.check()
    before, newest = user.generation(), user.newest()
    checked = user.entry("a.acme.io")["last_checked_at"]
    user.until(lambda: user.entry("a.acme.io")["last_checked_at"] != checked, "a timer's check")
    assert (user.generation(), user.newest()) == (before, newest)
    user.kill()
    user.start()
    user.until(lambda: user.entry("a.acme.io").get("state") == "serving", "the proof after a restart")
    assert user.generation() == before
    assert "a.acme.io.conf:3" in user.warnings()
    user.put_file("conf.d/a.acme.io.conf", SERVER, name="a.acme.io")
    user.until(lambda: user.generation() > before and not user.warnings(), "another profile")
    user.tested()
