"""The user's own NGINX configuration: each TLS server comes in when it can, and none takes another one down."""

from __future__ import annotations

import pytest

from entrypoint.core.model import KeyType
from entrypoint.demo.pki import certificate_pem, encrypted_pem
from tests.support.clients import ECDSA_ONLY, RSA_ONLY
from tests.support.front import PASSWORD, presented
from tests.support.pki import cached_key
from tests.support.user import ROOT, User


def test_every_server_when_it_can(user: User) -> None:
    """The plain one and the user's own at once, CertMgr's as soon as it has it, the unknown one once it is issued."""
    own, theirs, unknown = user.site("own.acme.io", own=True), user.site("certmgr.acme.io"), user.site("later.acme.io")
    user.give(theirs, "certmgr.acme.io")
    before = user.bytes()
    user.start()
    user.until(user.plain, "the plain server")
    user.until(lambda: user.serves(own, "own.acme.io"), "the user's own")
    user.until(lambda: user.serves(theirs, "certmgr.acme.io"), "CertMgr's")
    user.until(lambda: user.entry("later.acme.io").get("outcome") == "wrong-name", "the reason")
    assert user.entry("later.acme.io")["state"] == "pending"
    assert user.entry("own.acme.io")["source"] == "file"
    assert "later.acme.io.conf:1" in user.commented_out()
    rendered = user.current / ("source" + str(user.etc / "conf.d" / "later.acme.io.conf"))
    assert all(line.startswith("#") for line in rendered.read_text().splitlines())
    assert "Servers with access" in str(user.entry("later.acme.io")["hint"])
    user.give(unknown, "later.acme.io")
    user.until(lambda: user.serves(unknown, "later.acme.io"), "the last one")
    user.until(lambda: user.commented_out() == {}, "nothing commented out")
    assert user.bytes() == before
    user.tested()


def test_nonsense_in_a_new_file(user: User) -> None:
    """It is named with its line in the status, takes nothing down, and its removal clears the status."""
    own = user.site("own.acme.io", own=True)
    user.start()
    user.until(lambda: user.serves(own, "own.acme.io"), "the user's own")
    with_nonsense = user.put_file("conf.d/nonsense.conf", "server {{\n  listen {http};\n  no_such_directive on;\n}}\n")
    user.until(lambda: "nonsense.conf:1" in user.commented_out(), "the nonsense")
    reason = user.commented_out()["nonsense.conf:1"]
    assert 'unknown directive "no_such_directive"' in reason
    assert f"{with_nonsense}:3" in reason
    assert user.serves(own, "own.acme.io")
    user.put_file("conf.d/nonsense.conf", "server {{ listen 1\n")
    user.until(lambda: "nonsense.conf" in user.commented_out(), "the syntax fault")
    assert 'expecting ";" or "}"' in user.commented_out()["nonsense.conf"]
    assert user.plain()
    with_nonsense.unlink()
    user.until(lambda: user.commented_out() == {}, "a clear status")
    assert user.serves(own, "own.acme.io")
    user.tested()


def test_nonsense_at_the_first_boot(user: User) -> None:
    """What NGINX refuses, an upstream that is unknown and an include that is missing: the rest runs; repaired, all."""
    own = user.site("own.acme.io", own=True)
    user.put_file("conf.d/a.conf", "server {{ listen {http}; server_name a; no_such_directive on; }}\n")
    user.put_file(
        "conf.d/b.conf", "server {{ listen {http}; server_name b; location / {{ proxy_pass http://b.invalid; }} }}\n"
    )
    user.put_file("conf.d/c.conf", "server {{ listen {http}; server_name c; include missing.inc; return 200 c; }}\n")
    user.put_file("conf.d/d.conf", "server {{ listen {http}; server_name d; return 200 d; }}\n")
    user.start()
    user.until(lambda: user.serves(own, "own.acme.io"), "the user's own")
    user.until(lambda: set(user.commented_out()) == {"a.conf:1", "b.conf:1", "c.conf:1"}, "three gated")
    assert "host not found in upstream" in user.commented_out()["b.conf:1"]
    assert user.plain()
    for name in "abc":
        user.put_file(
            f"conf.d/{name}.conf", "server {{ listen {http}; server_name {name}; return 200 {name}; }}\n", name=name
        )
    user.until(lambda: user.commented_out() == {}, "all of them")
    user.tested()


def test_a_broken_root_file(user: User) -> None:
    """What runs is kept, and the status names file and line; repaired, the change comes in."""
    own = user.site("own.acme.io", own=True)
    user.start()
    user.until(lambda: user.serves(own, "own.acme.io"), "the user's own")
    user.put_file("nginx.conf", ROOT.replace("worker_processes 1;", "worker_processes 1; }}"))
    user.until(lambda: user.report()["configuration"]["problem"], "the problem")
    assert f'unexpected "}}" in {user.etc}/nginx.conf:3' in user.report()["configuration"]["problem"]
    user.kill()
    user.start()
    user.until(lambda: user.serves(own, "own.acme.io"), "the user's own after a restart")
    user.put_file("nginx.conf", ROOT.replace('"plain\\n"', '"mended\\n"'))
    user.until(lambda: user.http()[2] == "mended\n", "the change")
    user.until(lambda: user.report()["configuration"]["problem"] == "", "no problem")


def test_both_kinds_in_one_server(user: User) -> None:
    """An RSA client gets the RSA certificate, an ECDSA client the ECDSA one; one renewed alone leaves the other."""
    name, kinds = "dual.acme.io", {KeyType.RSA: RSA_ONLY, KeyType.ECDSA: ECDSA_ONLY}
    pairs = {kind: user.authority.issue(name, key=cached_key(kind, name)) for kind in kinds}
    lines = ""
    for kind, issued in pairs.items():
        (user.etc / f"{kind}.key").write_bytes(encrypted_pem(issued.key, PASSWORD))
        user.give(issued, name)
        lines += f"ssl_certificate {kind}.crt; ssl_certificate_key {kind}.key;\n"
    user.put_file(
        "conf.d/dual.conf", f"server {{{{ listen {{https}} ssl; server_name {name};\n{lines} return 204; }}}}\n"
    )
    user.start()
    for kind, ciphers in kinds.items():
        user.until(lambda kind=kind, ciphers=ciphers: user.serves(pairs[kind], name, ciphers), kind)  # type: ignore[misc]
    pairs[KeyType.RSA] = user.authority.issue(name, key=pairs[KeyType.RSA].key)
    user.give(pairs[KeyType.RSA], name)
    user.until(lambda: user.serves(pairs[KeyType.RSA], name, RSA_ONLY), "the renewed one")
    assert user.serves(pairs[KeyType.ECDSA], name, ECDSA_ONLY)


def test_own_certificate_renewed_and_damaged(user: User) -> None:
    """A new certificate of the user's comes in; a damaged one or one for another key does not, and is named."""
    own = user.site("own.acme.io", own=True)
    user.start()
    user.until(lambda: user.serves(own, "own.acme.io"), "the user's own")
    path = user.etc / "own.acme.io.crt"
    renewed = user.authority.issue("own.acme.io", key=own.key)
    path.write_bytes(certificate_pem(*renewed.chain[:-1]))
    user.until(lambda: user.serves(renewed, "own.acme.io"), "the renewed one")
    for data, outcome in {
        b"-----BEGIN CERTIFICATE-----\nMIIC\n": "malformed",
        certificate_pem(*user.authority.issue("own.acme.io").chain[:-1]): "key-mismatch",
    }.items():
        path.write_bytes(data)
        user.until(lambda outcome=outcome: user.entry("own.acme.io")["outcome"] == outcome, outcome)  # type: ignore[misc]
        assert str(path) in str(user.entry("own.acme.io")["detail"])
        assert user.serves(renewed, "own.acme.io")


def test_a_root_file_that_nginx_refuses_at_the_first_boot() -> None:
    """With nothing to fall back on, the built-in site runs, and the log names the user's line; repaired, all does."""
    with User(SERVER_NAME="www.acme.io") as user:
        user.put(user.issued)
        user.put_file("nginx.conf", "no_such_directive on;\n" + ROOT)
        user.start()
        user.until(lambda: user.serves(user.issued, "www.acme.io"), "the built-in site")
        assert f"{user.etc}/nginx.conf:1" in user.log()
        user.put_file("nginx.conf", ROOT)
        user.until(user.plain, "the user's server")
        user.tested()


def test_together_with_the_built_in_site() -> None:
    """SERVER_NAME adds the built-in site to the user's servers."""
    with User(SERVER_NAME="www.acme.io") as user:
        own = user.site("own.acme.io", own=True)
        user.put(user.issued)
        user.start()
        user.until(lambda: user.serves(user.issued, "www.acme.io"), "the built-in site")
        user.until(lambda: user.serves(own, "own.acme.io"), "the user's own")
        assert user.plain()
        with pytest.raises(OSError, match=r"(?i)unrecognized"):
            presented(user.https_port, "nobody.acme.io")


def test_the_rendered_copy_names_what_certfront_adds(user: User) -> None:
    """pid and daemon are certfront's, the user's own pid is commented out; what the user sets is not set twice."""
    user.put_file("nginx.conf", ROOT + "worker_shutdown_timeout 5s;\n")
    user.start()
    user.until(user.plain, "the plain server")
    text = (user.current / "nginx.conf").read_text()
    assert "# pid /nowhere/nginx.pid;" in text
    assert text.count("worker_shutdown_timeout") == 1
    assert "user nobody nogroup;" in text
    assert f'pid "{user.folder}/run/nginx.pid";' in text
    assert "PRIVATE KEY" not in text
    user.tested()


def test_render_diff(user: User) -> None:
    """`certfront render --diff` shows what differs from the user's files, and nothing else."""
    user.site("later.acme.io")
    user.put_file("conf.d/same.conf", "server {{ listen {http}; server_name same; return 204; }}\n")
    done = user.command("render", "--diff")
    assert done.returncode == 0, done.stderr
    assert f"--- {user.etc}/conf.d/later.acme.io.conf" in done.stdout
    assert "-    listen " in done.stdout
    assert "+#     listen " in done.stdout
    assert "same.conf" not in done.stdout


def test_a_server_left_alone(user: User) -> None:
    """`# certfront: off` leaves a server's pair to NGINX, which reads the user's own files."""
    own = user.site("own.acme.io", own=True)
    path = user.etc / "conf.d" / "own.acme.io.conf"
    path.write_text(path.read_text().replace("return", "# certfront: off\n    return"))
    user.start()
    user.until(lambda: user.serves(own, "own.acme.io"), "the user's own")
    assert user.entry("own.acme.io") == {}
    rendered = user.current / ("source" + str(path))
    assert f'ssl_certificate "{user.etc}/own.acme.io.crt";' in rendered.read_text()


def test_a_lookup_of_another_name(user: User) -> None:
    """`# certfront: lookup=NAME` asks CertMgr for that name."""
    issued = user.authority.issue(["own.acme.io", "asked.acme.io"], key=cached_key(KeyType.ECDSA, "own.acme.io"))
    user.site("own.acme.io")
    path = user.etc / "conf.d" / "own.acme.io.conf"
    path.write_text(path.read_text().replace("return", "# certfront: lookup=asked.acme.io\n    return"))
    user.give(issued, "asked.acme.io")
    user.start()
    user.until(lambda: user.serves(issued, "own.acme.io"), "the certificate")
