"""What NGINX refuses of the user's TLS servers, and files that are half written: nothing else notices."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from entrypoint.core.model import KeyType
from entrypoint.demo.pki import certificate_pem, encrypted_pem
from tests.support.front import PASSWORD
from tests.support.pki import cached_key
from tests.support.user import ROOT, SERVER, User

UNRESOLVABLE = SERVER.replace('return 200 "{name}\\n";', "location / {{ proxy_pass http://gone.invalid; }}")
TIME = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ"


@pytest.fixture
def gated(user: User) -> User:
    """The only TLS server has its pair, but NGINX refuses it."""
    user.site("own.acme.io", own=True)
    user.put_file("conf.d/own.acme.io.conf", UNRESOLVABLE, name="own.acme.io")
    user.start()
    user.until(lambda: user.entry("own.acme.io").get("outcome") == "config-rejected", "the refusal")
    return user


def test_a_refused_tls_server(gated: User) -> None:
    """No handshake is waited for where it is gated; repaired, it comes in."""
    assert gated.plain()
    assert "host not found in upstream" in gated.commented_out()["own.acme.io.conf:1"]
    assert gated.entry("own.acme.io")["state"] == "pending"
    assert "is not served as it should be" not in gated.log()
    gated.put_file("conf.d/own.acme.io.conf", SERVER, name="own.acme.io")
    gated.until(lambda: gated.entry("own.acme.io")["state"] == "serving", "the repaired one")
    gated.tested()


def test_a_restart_with_a_refused_server(gated: User) -> None:
    """What ran last runs again, without another generation; and the server is tried again."""
    before = gated.generation()
    gated.kill()
    gated.start()
    gated.until(gated.plain, "the plain server")
    gated.until(lambda: gated.entry("own.acme.io").get("outcome") == "config-rejected", "the refusal")
    assert gated.generation() == before
    gated.put_file("conf.d/own.acme.io.conf", SERVER, name="own.acme.io")
    gated.until(lambda: gated.entry("own.acme.io")["state"] == "serving", "the repaired one")


def test_the_reason_and_the_time(user: User) -> None:
    """Both stand above what is commented out, in the copy that runs and in what `render` shows."""
    user.site("own.acme.io", own=True)
    user.start()
    user.until(lambda: user.entry("own.acme.io").get("state") == "serving", "the proof")
    user.put_file("conf.d/own.acme.io.conf", UNRESOLVABLE, name="own.acme.io")
    user.until(user.commented_out, "the refusal")
    copy = user.current / f"source{user.etc}/conf.d/own.acme.io.conf"
    mark = rf"# certfront: commented out at {TIME}: .*host not found in upstream .* in {user.etc}/conf.d/own.*:6\n# "
    assert re.match(mark + "server {", copy.read_text())
    created_at = json.loads((user.current / "manifest.json").read_text())["created_at"]
    assert created_at in copy.read_text()
    assert re.search(mark, user.command("render").stdout)
    assert re.search(rf"\+{mark[:-2]}\+# server", user.command("render", "--diff").stdout)


def test_render_knows_the_reason(user: User) -> None:
    """`render` says of a pending certificate what the last check said."""
    user.site("later.acme.io")
    user.start()
    user.until(lambda: user.entry("later.acme.io").get("outcome") == "wrong-name", "the refusal")
    detail = str(user.entry("later.acme.io")["detail"])
    assert re.search(rf"# certfront: commented out at {TIME}: {re.escape(detail)}\n", user.command("render").stdout)


def test_a_file_written_slowly(user: User) -> None:
    """However long somebody writes in place, what runs goes on until all is quiet: one generation of the whole."""
    own = user.site("own.acme.io", own=True)
    user.start()
    user.until(lambda: user.entry("own.acme.io").get("state") == "serving", "the proof")
    before = user.generation()
    path = user.etc / "conf.d" / "own.acme.io.conf"
    text = path.read_text().replace("own.acme.io\\n", "changed\\n")
    last, longest = time.time(), 0.0
    with path.open("w") as file:
        for part in re.findall(r".{1,16}", text, re.DOTALL):
            file.write(part)
            file.flush()
            longest, last = max(longest, time.time() - last), time.time()
            time.sleep(0.2)
            found = user.generation()
            if max(longest, time.time() - last) > 0.9:
                pytest.skip("this machine is so busy that there was a quiet second")
            assert found == before
    user.until(lambda: user.generation() == before + 1, "the change")
    user.check()
    assert user.generation() == before + 1
    assert user.commented_out() == {}
    assert user.serves(own, "own.acme.io")


def test_many_changes_at_once(user: User) -> None:
    """Ten new servers in ten files are one generation, and so is a folder that is deleted and made anew."""
    user.site("own.acme.io", own=True)
    user.start()
    user.until(lambda: user.entry("own.acme.io").get("state") == "serving", "the proof")
    before = user.generation()
    for number in range(10):
        user.site(f"{number}.acme.io", own=True)
    user.until(lambda: user.entry("9.acme.io").get("state") == "serving", "the last one")
    assert user.generation() == before + 1
    kept = {path.name: path.read_text() for path in (user.etc / "conf.d").iterdir()}
    anew = user.etc / "anew"  # written before, as a busy machine may take its time for it
    anew.mkdir()
    for name in list(kept)[:5]:
        (anew / name).write_text(kept[name])
    shutil.rmtree(user.etc / "conf.d")
    anew.rename(user.etc / "conf.d")
    user.until(lambda: len(user.report()["certificates"]) == 5, "what is left")
    user.until(lambda: user.generation() == before + 2, "one generation")
    (user.etc / "conf.d" / "last.conf").write_text(SERVER.format(https=user.https_port, name="own.acme.io"))
    user.until(lambda: user.generation() == before + 3, "the folder made anew is watched")
    user.tested()


def test_one_file_for_certificate_and_key(user: User) -> None:
    """Both may lie in one PEM file, the key encrypted in it; it is carried in whole when it changes."""
    name = "one.acme.io"
    issued = user.authority.issue(name, key=cached_key(KeyType.ECDSA, name))
    path = user.etc / "one.pem"

    def write() -> None:
        new = path.with_suffix(".new")
        new.write_bytes(certificate_pem(*issued.chain[:-1]) + encrypted_pem(issued.key, PASSWORD))
        new.rename(path)

    write()
    pair = "ssl_certificate one.pem; ssl_certificate_key one.pem;"
    user.put_file("conf.d/one.conf", f"server {{{{ listen {{https}} ssl; server_name {name}; {pair} return 204; }}}}\n")
    user.start()
    user.until(lambda: user.serves(issued, name), "the pair")
    issued = user.authority.issue(name, key=issued.key)
    write()
    user.until(lambda: user.serves(issued, name), "the renewed one")
    user.until(lambda: user.entry(name)["outcome"] in ("installed", "unchanged"), "the proof")
    user.tested()
    assert not [each for each in Path(user.folder / "state").rglob("chain-*") if b"PRIVATE KEY" in each.read_bytes()]


def test_mended_without_a_change_of_the_configuration(user: User) -> None:
    """What NGINX missed and only it knows of is tried again by itself, and complained of once meanwhile."""
    own = user.site("own.acme.io", own=True)
    user.site("a.acme.io", own=True)
    user.put_file(
        "conf.d/a.acme.io.conf",
        SERVER.replace("    return", "    ssl_trusted_certificate ca.pem;\n    return"),
        name="a.acme.io",
    )
    user.start()
    user.until(lambda: user.serves(own, "own.acme.io"), "the other one")
    user.until(lambda: user.entry("own.acme.io").get("state") == "serving", "the proof")
    first, before = user.newest(), user.footprint()
    user.until(lambda: user.newest() >= first + 2, "two more tries")
    user.check()
    assert replace(user.footprint(), on_disk=()) == replace(before, on_disk=()), "no try costs a reload"
    assert user.log().count("NGINX refuses a part") == 1
    (user.etc / "ca.pem").write_bytes(certificate_pem(own.chain[-1]))
    user.until(lambda: user.commented_out() == {}, "the server")
    user.tested()


ODD = {
    "a certificate that is pending": SERVER,
    "a default server that is pending": SERVER.replace(" ssl;", " ssl default_server backlog=64;"),
    "a syntax fault": "server {{ listen {http}\n",
    "an unknown directive": SERVER.replace("return", "no_such_directive on; return"),
    "a missing include": SERVER.replace("return", "include missing.inc; return"),
    "an unresolvable upstream": UNRESOLVABLE,
    "a name that another server has": SERVER.replace("{name};\n", "own.acme.io;\n", 1),
}


@pytest.fixture(scope="module")
def odd() -> Iterator[Mapping[tuple[str, bool], User]]:
    """A front for each: all start together, so that nobody waits for each in turn."""
    with ExitStack() as stack:
        found = {key: stack.enter_context(User()) for key in itertools.product(ODD, (False, True))}
        for (kind, own), user in found.items():
            user.issued = user.site("own.acme.io", own=True)
            user.site("z.acme.io", own=own)
            user.put_file("conf.d/z.acme.io.conf", ODD[kind], name="z.acme.io")
            user.start()
        yield found


@pytest.mark.xdist_group("e2e-user-isolation")
@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("own", [False, True], ids=["CertMgr's", "own"])
def test_once_it_is_settled_nothing_happens(odd: Mapping[tuple[str, bool], User], kind: str, own: bool) -> None:
    """Whatever is wrong with one server: checks of it and of others, asked for and by timer, make no generation."""
    user = odd[kind, own]
    user.until(lambda: user.serves(user.issued, "own.acme.io"), "the good one")
    user.until(lambda: all(each["outcome"] for each in user.report()["certificates"]), "a first check of each")
    user.check()
    before = user.footprint()
    user.check()
    for _ in range(2):
        checked = user.entry("own.acme.io")["last_checked_at"]
        user.until(lambda checked=checked: user.entry("own.acme.io")["last_checked_at"] != checked, "a timer's check")  # type: ignore[misc]
    after = user.footprint()
    assert (after.generation, after.last_reload_at, after.master) == (
        before.generation,
        before.last_reload_at,
        before.master,
    )
    assert after.newest_worker == before.newest_worker, "NGINX was reloaded"
    user.stop()


def test_a_pair_of_http(user: User) -> None:
    """A pair that all servers inherit, its key encrypted, and no word of the password: pending, then served."""
    name = "own.acme.io"
    pair = f"    ssl_certificate {name}.crt; ssl_certificate_key {name}.key;\n"
    user.put_file("nginx.conf", ROOT.replace("    ssl_password_file ssl_pw.txt;\n", pair))
    issued = user.site(name)
    user.put_file(
        "conf.d/own.acme.io.conf", f"server {{{{ listen {{https}} ssl; server_name {name}; return 204; }}}}\n"
    )
    user.start()
    user.until(user.plain, "the plain server")
    user.until(lambda: user.entry(name).get("outcome") == "wrong-name", "the reason")
    user.give(issued, name)
    user.until(lambda: user.entry(name)["state"] == "serving", "the proof")
    assert user.serves(issued, name)
    assert user.plain()
    user.tested()


def test_what_http_imposes_on_all(user: User) -> None:
    """Access rules and client certificates for the user's servers leave the status port and the checks of it alone."""
    name = "own.acme.io"
    rules = 'deny all; auth_basic "staff"; auth_basic_user_file none; auth_request /none; ssl_verify_client on;\n'
    user.put_file("nginx.conf", ROOT.replace("    access_log", f"    {rules}    access_log"))
    (user.etc / "ca.pem").write_bytes(certificate_pem(user.authority.issue("ca").chain[-1]))
    user.site(name, own=True)
    user.put_file(
        f"conf.d/{name}.conf", SERVER.replace("    return", "    ssl_client_certificate ca.pem;\n    return"), name=name
    )
    user.start()
    user.until(lambda: user.entry(name).get("state") == "serving", "the proof")
    assert user.http("/healthz", user.status_port)[0] == 200
    assert user.commented_out() == {}
