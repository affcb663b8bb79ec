"""Private keys and passwords as administrators leave them, read from real files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from hypothesis import given
from hypothesis import strategies as st

from entrypoint.core.model import Key, KeyType, Outcome, Problem, Refused
from entrypoint.core.x509 import private_key
from entrypoint.core.x509.pem import is_encrypted
from entrypoint.edges import keys
from entrypoint.edges.keys import load, warn_about_mode
from tests.support.pki import PrivateKey, ec_key, issue, key_of, key_pem, root, rsa_key

SECRET = b"correct horse battery"
RSA, EC = rsa_key(1), ec_key(1)
OPENSSL = shutil.which("openssl")
needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="the openssl command is not installed")


def read(folder: Path, pem: bytes, passwords: bytes | None = SECRET) -> Key:
    """Load ``pem`` from a file in ``folder``, with a password file unless ``passwords`` is None."""
    (folder / "key.pem").write_bytes(pem)
    if passwords is not None:
        (folder / "ssl_pw.txt").write_bytes(passwords)
    return load(folder / "key.pem", folder / "ssl_pw.txt")


def _passwords(path: Path) -> tuple[bytes, ...]:
    """The passwords of a password file as `load` reads it."""
    return private_key.passwords(path, keys._content(path, "the password file"))


def refusal(folder: Path, pem: bytes, passwords: bytes | None = SECRET) -> Problem:
    with pytest.raises(Refused) as refused:
        read(folder, pem, passwords)
    assert refused.value.__cause__ is None
    assert SECRET.decode() not in repr(refused.value) + repr(refused.value.problem)
    return refused.value.problem


def openssl(*arguments: str, given: bytes = b"") -> bytes:
    """Return what the command prints; the password is always SECRET."""
    command = [str(OPENSSL), *arguments]
    return subprocess.run(command, input=given, capture_output=True, check=True).stdout


@contextmanager
def not_root() -> Iterator[None]:
    """Run as nobody where the tests run as root, whom no file mode keeps out."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


# Keys that open


@pytest.mark.parametrize("key", [RSA, EC], ids=["rsa", "ec"])
@pytest.mark.parametrize("traditional", [False, True], ids=["pkcs8", "traditional"])
@pytest.mark.parametrize("password", [None, SECRET], ids=["plain", "encrypted"])
def test_a_key_is_read_and_stays_as_it_is(
    key: PrivateKey, traditional: bool, password: bytes | None, tmp_path: Path
) -> None:
    """Both types in both formats, encrypted or not: type, public key, the file's content, the password used."""
    pem = key_pem(key, password, traditional=traditional)
    loaded = read(tmp_path, pem, SECRET + b"\n")
    assert loaded == key_of(key, pem, password)
    assert is_encrypted(pem) is (password is not None)
    assert SECRET.decode() not in repr(loaded)
    assert "PRIVATE" not in repr(loaded)


@needs_openssl
@pytest.mark.parametrize(
    "command",
    [
        "rsa -aes256 -traditional",
        "rsa -aes128 -traditional",
        "rsa -des3 -traditional",
        "pkcs8 -topk8 -v2 aes-256-cbc",
        "pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA512",
        "pkcs8 -topk8 -v2 des3",
        "pkcs8 -topk8 -scrypt -scrypt_N 16",
    ],
)
def test_keys_that_openssl_encrypted_open(command: str, tmp_path: Path) -> None:
    """The formats that administrators' tools write are read, and a wrong password is told as such."""
    pem = openssl(*command.split(), "-passout", f"pass:{SECRET.decode()}", given=key_pem(RSA))
    assert is_encrypted(pem)
    assert read(tmp_path, pem) == key_of(RSA, pem, SECRET)
    assert refusal(tmp_path, pem, b"wrong").outcome is Outcome.WRONG_PASSWORD


@needs_openssl
def test_ec_keys_of_openssl_open_with_their_parameters_before_them(tmp_path: Path) -> None:
    """`openssl ecparam -genkey` writes EC PARAMETERS first; genpkey writes PKCS #8; both work, encrypted too."""
    both = openssl("ecparam", "-genkey", "-name", "prime256v1")
    assert b"EC PARAMETERS" in both
    assert read(tmp_path, both).key_type is KeyType.ECDSA
    encrypted = openssl("ec", "-aes256", "-passout", f"pass:{SECRET.decode()}", given=both)
    assert read(tmp_path, encrypted).password == SECRET
    curve = ("-pkeyopt", "ec_paramgen_curve:P-384")
    modern = openssl("genpkey", "-algorithm", "EC", *curve, "-aes256", "-pass", f"pass:{SECRET.decode()}")
    assert read(tmp_path, modern).password == SECRET


def test_other_blocks_around_the_key_stay_in_the_file(tmp_path: Path) -> None:
    """Certificates and remarks before and after the key do no harm, nor do Windows line ends."""
    cert = issue("www.acme.io", None, key=RSA).pem
    pem = b"remarks\n" + cert + key_pem(RSA, SECRET) + cert
    assert read(tmp_path, pem).pem == pem
    assert read(tmp_path, pem.replace(b"\n", b"\r\n")).spki == key_of(RSA).spki


def test_the_first_of_two_keys_counts_as_for_nginx(tmp_path: Path) -> None:
    """Where a file holds two keys, the first one is the key, and decides whether it is encrypted."""
    pem = key_pem(EC) + key_pem(RSA, SECRET)
    assert read(tmp_path, pem).spki == key_of(EC).spki
    assert not is_encrypted(pem)


def test_passwords_are_tried_in_turn(tmp_path: Path) -> None:
    """The one that opens the key is remembered, with its spaces."""
    pem = key_pem(RSA, b" two words ")
    assert read(tmp_path, pem, b"first\n\n two words \r\nlast").password == b" two words "


def test_a_linked_key_is_read(tmp_path: Path) -> None:
    """Orchestrators mount secrets as symbolic links."""
    (tmp_path / "real").write_bytes(key_pem(RSA))
    (tmp_path / "link").symlink_to("real")
    assert load(tmp_path / "link", tmp_path / "none").spki == key_of(RSA).spki


# Keys that do not


def test_a_missing_key_says_how_to_export_one(tmp_path: Path) -> None:
    """No such file, or no such folder: what to do, and which variable names the place."""
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "key.pem", tmp_path / "no" / "key.pem", tmp_path / "file" / "key.pem"):
        with pytest.raises(Refused, match="there is no key file") as refused:
            load(path, tmp_path / "ssl_pw.txt")
        problem = refused.value.problem
        assert problem.outcome is Outcome.KEY_MISSING
        assert str(path) in problem.detail
        assert "TLS Credentials" in problem.hint
        assert "KEY_FILE" in problem.hint
        assert "ssl_certificate_key" in problem.hint


def test_wrong_passwords_are_counted(tmp_path: Path) -> None:
    """One or several that do not open it, and the two ways of having none, are told apart."""
    pem = key_pem(RSA, SECRET)
    one = refusal(tmp_path, pem, b"wrong\n")
    several = refusal(tmp_path, pem, b"wrong\nworse\n")
    empty = refusal(tmp_path, pem, b"\n\r\n")
    (tmp_path / "ssl_pw.txt").unlink()
    missing = refusal(tmp_path, pem, None)
    assert {each.outcome for each in (one, several, empty, missing)} == {Outcome.WRONG_PASSWORD}
    assert f"the password in {tmp_path / 'ssl_pw.txt'} does not open it" in one.detail
    assert "none of the 2 passwords" in several.detail
    assert "holds no password" in empty.detail
    assert "does not exist" in missing.detail


@pytest.mark.parametrize("traditional", [False, True], ids=["pkcs8", "traditional"])
def test_no_wrong_password_is_ever_taken_for_something_else(traditional: bool, tmp_path: Path) -> None:
    """About one in 256 passes the padding check by chance and yields noise: the outcome is the same."""
    pem = key_pem(EC, SECRET, traditional=traditional)
    tries = 1500 if traditional else 3  # the new format makes each one slow on purpose
    assert refusal(tmp_path, pem, b"\n".join(b"%d" % number for number in range(tries))).outcome is (
        Outcome.WRONG_PASSWORD
    )


DSA = dsa.generate_private_key(1024).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize("kind", [ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey])
@pytest.mark.parametrize("password", [None, SECRET])
def test_keys_that_only_the_user_s_own_certificates_have(
    kind: type[ed25519.Ed25519PrivateKey], password: bytes | None, tmp_path: Path
) -> None:
    """NGINX takes them, so they are read; they have no type that CertMgr knows."""
    key = kind.generate()
    (tmp_path / "key.pem").write_bytes(key_pem(key, password))
    (tmp_path / "pw").write_bytes(SECRET + b"\n")
    found = load(tmp_path / "key.pem", tmp_path / "pw")
    assert (found.key_type, found.spki, found.password) == (None, key_of(key).spki, password)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (root().pem, "certificates but no private key"),
        (key_pem(RSA)[:-30], "cut off"),
        (b"-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n", "no private key"),
        (DSA, "of type DSA"),
        (b"hello", "something that is not PEM"),
        (
            pkcs12.serialize_key_and_certificates(b"x", RSA, None, None, BestAvailableEncryption(SECRET)),
            "PKCS#12",
        ),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "damaged"),
        (b"x" * (1024 * 1024 + 1), "larger than 1048576 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_usable_key_is_unreadable_for_a_reason(content: bytes, told: str, tmp_path: Path) -> None:
    """Each kind of wrong file gets its own words."""
    problem = refusal(tmp_path, content)
    assert problem.outcome is Outcome.KEY_UNREADABLE
    assert told in problem.detail
    assert str(tmp_path / "key.pem") in problem.detail
    assert problem.hint


@needs_openssl
@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("rsa -camellia256 -traditional", "CAMELLIA-256-CBC"),
        ("pkcs8 -topk8 -v2 camellia-256-cbc", "1.2.392.200011.61.1.1.1.4"),
    ],
)
def test_an_unsupported_cipher_is_named_and_is_no_wrong_password(command: str, told: str, tmp_path: Path) -> None:
    """The right password cannot open it either, so the hint is to convert it."""
    pem = openssl(*command.split(), "-passout", f"pass:{SECRET.decode()}", given=key_pem(RSA))
    problem = refusal(tmp_path, pem)
    assert problem.outcome is Outcome.KEY_UNREADABLE
    assert told in problem.detail
    assert "openssl pkcs8" in problem.hint


@needs_openssl
def test_dsa_and_unknown_curves_are_unreadable(tmp_path: Path) -> None:
    """Kinds of keys that a TLS server certificate of Domino's cannot have."""
    odd = openssl("ecparam", "-genkey", "-noout", "-name", "secp224k1")
    assert refusal(tmp_path, odd).outcome is Outcome.KEY_UNREADABLE
    dsa = openssl("dsaparam", "-genkey", "-noout", "1024")
    assert refusal(tmp_path, dsa).outcome is Outcome.KEY_UNREADABLE


def test_small_keys_and_other_curves_are_left_to_vetting(tmp_path: Path) -> None:
    """A key is read whatever its strength: its certificate is judged, not the file."""
    assert read(tmp_path, key_pem(rsa_key(9, 1024))).key_type is KeyType.RSA
    assert read(tmp_path, key_pem(ec_key(9, ec.SECP256K1))).key_type is KeyType.ECDSA


def test_a_key_that_may_not_be_read_says_whose_it_is(tmp_path: Path) -> None:
    """Owner, mode and our own uid: what chown and chmod need. The same for passwords."""
    shared = Path("/tmp") if os.geteuid() == 0 else tmp_path  # pytest's own folder is closed to others
    for name, what in (("key", "the key file"), ("pw", "the password file")):
        path = shared / f"{tmp_path.name}-{os.getpid()}-{name}"
        path.touch(mode=0)
        try:
            with not_root(), pytest.raises(Refused, match=f"{what} .* may not be read") as refused:
                load(path, path) if name == "key" else _passwords(path)
            uid = os.geteuid() or 65534
        finally:
            path.unlink()
        problem = refused.value.problem
        assert problem.outcome is Outcome.KEY_UNREADABLE
        assert f"uid {os.getuid()}" in problem.detail
        assert "mode 0000" in problem.detail
        assert f"runs as uid {uid}" in problem.detail


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize(
    ("group", "told"),
    [(0, "chgrp 0, and chmod 440"), (65534, "chown 65534, and chmod 400")],
    ids=["group 0", "another"],
)
def test_what_to_do_fits_who_runs(group: int, told: str) -> None:
    """An image's user of group 0 reads by that group; another one has to own the file."""
    path = Path(f"/tmp/certfront-{os.getpid()}-{group}.pem")
    path.touch(mode=0o400)
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(group)
    try:
        with not_root(), pytest.raises(Refused) as refused:
            load(path, path)
    finally:
        os.setegid(0)
        os.setgroups(groups)
        path.unlink()
    assert told in refused.value.problem.hint


def test_a_key_in_a_closed_folder_says_so(tmp_path: Path) -> None:
    """Where not even the owner can be looked up, it is the folder."""
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "key.pem").write_bytes(key_pem(RSA))
    closed.chmod(0)
    try:
        with not_root(), pytest.raises(Refused, match="a folder above it is closed") as refused:
            load(closed / "key.pem", closed / "ssl_pw.txt")
        assert "enter the folder" in refused.value.problem.hint
    finally:
        closed.chmod(0o700)


def test_a_directory_in_the_file_s_place_is_explained(tmp_path: Path) -> None:
    """Container engines make one where the mounted file does not exist."""
    with pytest.raises(Refused, match="is a directory") as refused:
        load(tmp_path, tmp_path)
    assert "mount" in refused.value.problem.hint
    assert "(docker rm) and then that folder (rmdir) first" in refused.value.problem.hint
    tmp_path.chmod(0o755)
    assert warn_about_mode(tmp_path) is None
    with pytest.raises(Refused, match=r"the password file .* is a directory"):
        _passwords(tmp_path)


def test_a_named_pipe_does_not_hang(tmp_path: Path) -> None:
    """What is no file is refused at once instead of waiting for a writer."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Refused, match="no regular file"):
        load(tmp_path / "pipe", tmp_path / "none")


def test_an_impossible_path_is_unreadable(tmp_path: Path) -> None:
    """Other errors of the system are passed on in its words."""
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(Refused, match="cannot be read: ") as refused:
        load(tmp_path / "loop", tmp_path / "none")
    assert refused.value.problem.outcome is Outcome.KEY_UNREADABLE


# Passwords


@pytest.mark.parametrize(
    ("content", "passwords"),
    [
        (b"", ()),
        (b"\n\r\n\n", ()),
        (b"one", (b"one",)),
        (b"one\ntwo\r\nthree", (b"one", b"two", b"three")),
        (b" a b \n\tc\t\n", (b" a b ", b"\tc\t")),
        ("pässwörd\n".encode(), ("pässwörd".encode(),)),
        (b"a\rb\n", (b"a\rb",)),
        (b"x" * 4095, (b"x" * 4095,)),
    ],
)
def test_passwords_are_read_as_nginx_reads_them(content: bytes, passwords: tuple[bytes, ...], tmp_path: Path) -> None:
    """One a line, only the line's end cut off, empty lines skipped."""
    (tmp_path / "pw").write_bytes(content)
    assert _passwords(tmp_path / "pw") == passwords


def test_no_password_file_holds_no_password(tmp_path: Path) -> None:
    """A plain key needs none."""
    assert _passwords(tmp_path / "none") == ()
    (tmp_path / "file").touch()
    assert _passwords(tmp_path / "file" / "none") == ()


def test_a_password_too_long_for_nginx_is_refused(tmp_path: Path) -> None:
    """NGINX would stop at it: better said here, without printing it."""
    (tmp_path / "pw").write_bytes(b"x" * 4096)
    with pytest.raises(Refused, match="more than 4095 bytes") as refused:
        _passwords(tmp_path / "pw")
    assert "xxx" not in repr(refused.value.problem)


# The rest


@given(st.binary())
def test_is_encrypted_takes_any_bytes(content: bytes) -> None:
    """Only a PEM header counts, and nothing is raised."""
    assert not is_encrypted(content)


def test_is_encrypted_needs_no_library() -> None:
    """Looking at the header, and importing the module, must not cost the import of cryptography."""
    program = (
        "import sys; from entrypoint.core.x509.pem import is_encrypted;"
        "assert is_encrypted(b'-----BEGIN ENCRYPTED PRIVATE KEY-----x-----END ENCRYPTED PRIVATE KEY-----');"
        "assert not [name for name in sys.modules if name.startswith('cryptography')]"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize(
    ("mode", "warned"), [(0o400, False), (0o600, False), (0o440, True), (0o644, True), (0o602, True)]
)
def test_wide_permissions_are_warned_about(mode: int, warned: bool, tmp_path: Path) -> None:
    """Nobody but the owner should get at keys and passwords; a missing file is somebody else's matter."""
    path = tmp_path / "key.pem"
    path.touch()
    path.chmod(mode)
    sentence = warn_about_mode(path)
    assert (sentence is not None) is warned
    assert sentence is None or (f"{mode:04o}" in sentence and "chmod 400" in sentence and str(path) in sentence)
    assert warn_about_mode(tmp_path / "none") is None
