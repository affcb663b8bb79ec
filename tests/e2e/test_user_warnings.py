"""What NGINX warns of runs, and is said: in the status, once in the log, by `status` and `render`, also later on."""

from __future__ import annotations

from tests.support.user import SERVER, User

DEPRECATED = SERVER.replace("{https} ssl;", "{https} ssl http2;")
WARNED = 'the "listen ... http2" directive is deprecated'


def test_an_innocent_server_and_one_with_an_error(user: User) -> None:
    """A server that NGINX warns of and another on its socket are served, whatever NGINX refuses of a third."""
    for name in ("a.acme.io", "b.acme.io", "c.acme.io"):
        user.site(name, own=True)
    user.put_file("conf.d/a.acme.io.conf", DEPRECATED, name="a.acme.io")
    user.put_file("conf.d/c.acme.io.conf", SERVER.replace("return", "bogus on; return"), name="c.acme.io")
    user.put_file("conf.d/types.conf", "gzip_types text/html;\n")
    user.start()
    for name in ("a.acme.io", "b.acme.io"):
        user.until(lambda name=name: user.entry(name).get("state") == "serving", f"the proof of {name}")  # type: ignore[misc]
    assert set(user.commented_out()) == {"c.acme.io.conf:1"}
    found = user.warnings()
    assert found["a.acme.io.conf:2"].startswith(WARNED)
    assert found["types.conf:1"] == 'duplicate MIME type "text/html"'
    assert f"warning: {user.etc}/conf.d/types.conf:1: duplicate MIME type" in user.command("status").stdout
    assert f"warning: {user.etc}/conf.d/types.conf:1: duplicate MIME type" in user.command("render").stderr
    for _ in range(3):
        user.check()
    assert user.log().count("NGINX warns: ") == 2
    user.kill()
    user.start()
    user.until(lambda: user.warnings() == found, "the warnings after a restart")
    user.put_file("conf.d/types.conf", "\n")
    user.put_file("conf.d/a.acme.io.conf", SERVER, name="a.acme.io")
    user.until(lambda: user.warnings() == {}, "no warnings")
    user.tested()
