"""The user's servers, wherever they listen: each certificate is proved there; and folders that come, go and swap."""

from __future__ import annotations

import shutil
import socket
import ssl
from pathlib import Path

import pytest

from entrypoint.core.model import KeyType
from entrypoint.demo.pki import Issued, encrypted_pem
from entrypoint.demo.stage import fingerprint
from tests.support import clients
from tests.support.front import PASSWORD, presented
from tests.support.pki import cached_key
from tests.support.user import ROOT, SERVER, User

NAME = "own.acme.io"
PAIR = f"ssl_certificate {NAME}.crt; ssl_certificate_key {NAME}.key;"


def _wanted(user: User) -> Issued:
    """A key of the user's, and CertMgr's certificate for it."""
    issued = user.authority.issue(NAME, key=cached_key(KeyType.ECDSA, NAME))
    (user.etc / f"{NAME}.key").write_bytes(encrypted_pem(issued.key, PASSWORD))
    user.give(issued, NAME)
    return issued


def _proved(user: User, issued: Issued) -> None:
    """The agent says that it is live, which it does after its own handshakes only."""
    user.until(lambda: user.entry(NAME).get("fingerprint_sha256") == fingerprint(issued), "the proof")
    user.tested()


def test_a_stream_server(user: User) -> None:
    """A TLS server in `stream` gets its certificate, and is proved."""
    issued = _wanted(user)
    lines = f"listen {{https}} ssl; ssl_password_file ssl_pw.txt; {PAIR}\n# certfront: lookup={NAME}\nreturn hello;"
    stream = f"stream {{{{ server {{{{ {lines} }}}} }}}}\n"
    user.put_file("nginx.conf", ROOT + stream)
    user.start()
    _proved(user, issued)
    assert user.serves(issued, NAME)


def test_proxy_protocol(user: User) -> None:
    """A listener that expects the PROXY protocol's header is asked with one."""
    issued = _wanted(user)
    user.put_file("conf.d/own.conf", SERVER.replace("ssl;", "ssl proxy_protocol;", 1), name=NAME)
    user.start()
    _proved(user, issued)
    with socket.create_connection(("127.0.0.1", user.https_port), timeout=10) as conn:
        conn.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n")
        with clients.client_context().wrap_socket(conn, server_hostname=NAME) as tls:
            assert clients.chain_of(tls)[0] == ssl.PEM_cert_to_DER_cert(_pem(issued))


def _pem(issued: Issued) -> str:
    from entrypoint.demo.pki import certificate_pem

    return certificate_pem(issued.certificate).decode()


def test_a_unix_socket(user: User) -> None:
    """A listener at a path is asked there."""
    issued = _wanted(user)
    path = user.folder / "own.sock"
    user.put_file("conf.d/own.conf", SERVER.replace("{https}", f"unix:{path}"), name=NAME)
    user.start()
    _proved(user, issued)
    assert path.is_socket()


def test_one_certificate_for_several_servers(user: User) -> None:
    """It is fetched once, must cover the names of all, and comes in for all of them."""
    names = [NAME, "www.acme.io"]
    issued = user.authority.issue(names, key=cached_key(KeyType.ECDSA, NAME))
    (user.etc / f"{NAME}.key").write_bytes(encrypted_pem(issued.key, PASSWORD))
    for name in names:
        text = f"server {{{{ listen {{https}} ssl; server_name {name}; {PAIR} return 204; }}}}\n"
        user.put_file(f"conf.d/{name}.conf", text)
    user.give(issued, NAME)
    user.start()
    for name in names:
        user.until(lambda name=name: user.serves(issued, name), name)  # type: ignore[misc]
    user.until(lambda: len(user.report()["certificates"]) == 1, "one entry of the status")


def test_kubernetes_swaps_the_folder(user: User) -> None:
    """conf.d as a ConfigMap: files are links into ``..data``, which is swapped."""
    folder = user.etc / "conf.d"
    _version(folder, "..1", "one", user.http_port)
    (folder / "site.conf").symlink_to("..data/site.conf")
    user.start()
    user.until(lambda: _answer(user, "site") == "one", "the first version")
    _version(folder, "..2", "two", user.http_port)
    user.until(lambda: _answer(user, "site") == "two", "the second version")


def _answer(user: User, host: str) -> str:
    answer = clients.get_plain(("127.0.0.1", user.http_port), host)
    return answer.partition(b"\r\n\r\n")[2].decode()


def _version(folder: Path, name: str, text: str, port: int) -> None:
    (folder / name).mkdir()
    (folder / name / "site.conf").write_text(f"server {{ listen {port}; server_name site; return 200 {text}; }}\n")
    (folder / "..tmp").symlink_to(name)
    (folder / "..tmp").rename(folder / "..data")


def test_a_folder_that_goes_and_comes_back(user: User) -> None:
    """Without it the rest runs on; made anew, its sites are back."""
    own = user.site(NAME, own=True)
    user.start()
    user.until(lambda: user.serves(own, NAME), "the user's own")
    kept = user.folder / "kept"
    shutil.move(user.etc / "conf.d", kept)
    user.until(lambda: not user.serves(own, NAME), "its end")
    assert user.plain()
    shutil.copytree(kept, user.etc / "conf.d")
    user.until(lambda: user.serves(own, NAME), "its return")


def test_a_default_server_that_waits(user: User) -> None:
    """While it does, unknown names are refused, not served by the next one, which goes on by IPv4 as by IPv6."""
    first = "ssl default_server ipv6only=off reuseport backlog=64"
    user.put_file("conf.d/a.conf", SERVER.replace("ssl;", f"{first};").replace("listen ", "listen [::]:"), name=NAME)
    other = user.site("other.acme.io", own=True)
    path = user.etc / "conf.d" / "other.acme.io.conf"
    path.write_text(path.read_text().replace("listen ", "listen [::]:"))
    user.start()
    user.until(lambda: user.serves(other, "other.acme.io"), "the other one, by IPv4")
    with pytest.raises(OSError, match=r"(?i)unrecognized"):
        presented(user.https_port, "nobody.acme.io")
    issued = _wanted(user)
    _proved(user, issued)
    user.until(lambda: user.serves(issued, "nobody.acme.io"), "the default server")
    assert user.serves(other, "other.acme.io")


def test_two_servers_of_one_name(user: User) -> None:
    """NGINX gives the name to the first; the second one's certificate is not waited for."""
    issued, second = _wanted(user), user.authority.issue(NAME, key=cached_key(KeyType.RSA, NAME))
    user.put_file("conf.d/a.conf", SERVER, name=NAME)
    (user.etc / "second.key").write_bytes(encrypted_pem(second.key, PASSWORD))
    user.put_file("conf.d/b.conf", SERVER.replace("{name}.", "second."), name=NAME)
    user.give(second, NAME)
    user.start()
    _proved(user, issued)
    user.until(lambda: [each["state"] for each in user.report()["certificates"]] == ["serving"] * 2, "both")
    user.until(lambda: "no handshake proves it" in user.log(), "the warning")
    assert "another server answers for" not in user.log()
