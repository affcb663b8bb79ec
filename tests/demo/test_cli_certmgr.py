"""`certfront demo-certmgr` as a command: its life, its files, and what it refuses."""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from entrypoint.core.model import KeyType
from entrypoint.demo import cli_certmgr, pki
from tests.support.clients import ECDSA_ONLY, RSA_ONLY, fetch, get, is_over
from tests.support.pki import cached_key
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
PROGRAM = """
import argparse, sys
from entrypoint.demo import cli_certmgr
parser = argparse.ArgumentParser()
cli_certmgr.add_arguments(parser)
sys.exit(cli_certmgr.run(parser.parse_args()))
"""
NAME = "www.example.test"


@dataclass
class Running:
    """The command as a process of its own; ``lines`` are what it has said up to its addresses."""

    process: subprocess.Popen[str]
    lines: list[str]

    def address(self, kind: str = "TLS") -> tuple[str, int]:
        found = re.search(rf"{kind} on (\S+):(\d+)", "".join(self.lines))
        assert found
        return found[1], int(found[2])

    def wait_for(self, text: str) -> str:
        """Reads until a line has the text."""
        assert self.process.stderr
        for line in self.process.stderr:
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError(f"{text!r} is not in {self.lines}")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=10)


@contextmanager
def running(tmp_path: Path, *options: str) -> Iterator[Running]:
    temporary = tmp_path / "tmp"
    temporary.mkdir(exist_ok=True)
    command = [sys.executable, "-W", "error", "-c", PROGRAM, "--listen", "127.0.0.1:0", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield Running(process, [])
        finally:
            process.kill()
    assert list(temporary.iterdir()) == []


def leaf(chain: list[bytes]) -> x509.Certificate:
    return x509.load_der_x509_certificate(chain[0])


def fetch_until(address: tuple[str, int], ciphers: str, other_than: x509.Certificate) -> x509.Certificate:
    """Asks again and again until another certificate comes back."""

    def other() -> x509.Certificate | None:
        found = leaf(fetch(address, NAME, ciphers))
        return None if found == other_than else found

    found = until(other, "another certificate", 10)
    assert found
    return found


def test_life(tmp_path: Path) -> None:
    """Default certificate first, then the credential for the exported key, then renewals of it."""
    out = tmp_path / "export"
    options = ["--export", str(out), "--delay", "0.5", "--renew-every", "0.3", "--key-type", "rsa"]
    with running(tmp_path, *options, "--http-port", "0", "--lifetime-days", "6") as lab:
        lab.wait_for("only the default certificate")
        first = leaf(fetch(lab.address(), NAME, RSA_ONLY))
        assert "certmgr.example.test" in first.subject.rfc4514_string()
        issued = fetch_until(lab.address(), RSA_ONLY, first)
        renewed = fetch_until(lab.address(), RSA_ONLY, issued)
        challenge = get(lab.address("HTTP"), "/.well-known/acme-challenge/letsdebug-test", tls=False)
        assert lab.end() == 0
    assert challenge.endswith(b"DOMINO-ACME-PROTOCOL-CHALLENGE-DATA-OK\n")
    key = pki.load_key((out / "key.pem").read_bytes(), (out / "ssl_pw.txt").read_bytes().strip())
    assert issued.public_key() == renewed.public_key() == key.public_key()
    assert (issued.not_valid_after_utc - issued.not_valid_before_utc).days == 6


def test_restart_keeps_key_and_authority(tmp_path: Path) -> None:
    """A second start uses the exported key and the stored authority, and changes no file."""
    export, state = tmp_path / "export", tmp_path / "state"
    options = ["--export", str(export), "--state", str(state), "--export-mode", "0440", "--key-type", "ecdsa"]
    found, files = [], []
    for _ in range(2):
        with running(tmp_path, *options) as lab:
            lab.wait_for("issued www.example.test (ecdsa)")
            found.append(fetch(lab.address(), NAME, ECDSA_ONLY))
            assert lab.end(signal.SIGINT) == 0
        files.append({path: path.read_bytes() for path in sorted(tmp_path.rglob("*.*"))})
    assert leaf(found[0]).public_key() == leaf(found[1]).public_key()
    assert found[0][0] != found[1][0]
    assert found[0][1:] == found[1][1:]
    assert files[0] == files[1]
    modes = {path.name: path.stat().st_mode & 0o777 for path in files[0]}
    assert modes == {
        "key.pem": 0o440,
        "ssl_pw.txt": 0o440,
        "root.pem": 0o644,
        "ca.pem": 0o600,
        "ca_pw.txt": 0o600,
    }
    assert not any(b"BEGIN PRIVATE KEY" in data for data in files[0].values())


def test_nothing_secret_is_said(tmp_path: Path) -> None:
    """Neither the password nor a key is printed."""
    with running(tmp_path, "--export", str(tmp_path / "e"), "--key-type", "ecdsa") as lab:
        lab.wait_for("issued")
        lab.end()
        assert lab.process.stderr
        said = "".join(lab.lines) + lab.process.stderr.read()
    assert (tmp_path / "e/ssl_pw.txt").read_text().strip() not in said
    assert "PRIVATE" not in said
    assert "ended by SIGTERM" in said


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_ends_at_once(tmp_path: Path, tls: str) -> None:
    """A client that says nothing does not hold up the end, and the port is free afterwards."""
    with running(tmp_path, "--key-type", "ecdsa", "--tls", tls) as lab:
        lab.wait_for("issued")
        with socket.create_connection(lab.address()) as silent:
            began = time.monotonic()
            assert lab.end() == 0
            assert time.monotonic() - began < 20  # far below the 30 s that a silent client has
            assert is_over(silent)
        socket.create_server(lab.address()).close()


def test_taken_port(tmp_path: Path) -> None:
    """A port that is taken ends it with 1 and a line that says so."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with running(tmp_path, "--listen", address, "--key-type", "ecdsa") as lab:
            assert "in use" in lab.wait_for("stopped").lower()
            assert lab.process.wait(timeout=10) == 1


def arguments(*options: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cli_certmgr.add_arguments(parser)
    return parser.parse_args(options)


@pytest.mark.parametrize("fault", ["no password", "wrong password", "damaged key", "other type", "damaged state"])
def test_unusable_files(tmp_path: Path, fault: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Files that cannot be used end it with 2 and a hint, and stay as they are."""
    export, state = tmp_path / "export", tmp_path / "state"
    key_type = KeyType.ECDSA
    export.mkdir()
    state.mkdir()
    (export / "key.pem").write_bytes(pki.encrypted_pem(cached_key(key_type), b"sesame"))
    (export / "ssl_pw.txt").write_bytes(b"other\nsesame\n")
    if fault == "no password":
        (export / "ssl_pw.txt").unlink()
    elif fault == "wrong password":
        (export / "ssl_pw.txt").write_bytes(b"mellon\n")
    elif fault == "damaged key":
        (export / "key.pem").write_bytes(b"-----BEGIN")
    elif fault == "damaged state":
        (state / "ca.pem").write_bytes(b"-----BEGIN")
        (state / "ca_pw.txt").write_bytes(b"sesame\n")
    wanted = "rsa" if fault == "other type" else "ecdsa"
    before = {path: path.read_bytes() for path in tmp_path.rglob("key.pem")}
    options = [
        "--export",
        str(export),
        "--state",
        str(state),
        "--key-type",
        wanted,
        "--listen",
        "127.0.0.1:0",
    ]
    assert cli_certmgr.run(arguments(*options)) == 2
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "delete" in said
    assert "mellon" not in said
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("key.pem")}


def test_signals_are_given_back(tmp_path: Path) -> None:
    """After the command, the process's own signal handlers are in place again."""
    before = signal.getsignal(signal.SIGTERM)
    (tmp_path / "file").touch()
    assert cli_certmgr.run(arguments("--state", str(tmp_path / "file"))) == 1
    assert signal.getsignal(signal.SIGTERM) is before


def test_listen_forms() -> None:
    """A port, an IPv4 address and an IPv6 address are understood."""
    assert arguments().listen == ("", 443)
    assert arguments("--listen", "8443").listen == ("", 8443)
    assert arguments("--listen", "127.0.0.1:8443").listen == ("127.0.0.1", 8443)
    assert arguments("--listen", "[::1]:8443").listen == ("::1", 8443)


def test_names_forms() -> None:
    """Names are separated by commas, and Unicode ones converted."""
    assert arguments("--names", "a.test,*.bücher.de").names == ("a.test", "*.xn--bcher-kva.de")


@pytest.mark.parametrize(
    "options",
    [
        ["--listen", "no"],
        ["--listen", "70000"],
        ["--names", ","],
        ["--names", "ü..de"],
        ["--delay", "-1"],
        ["--renew-every", "0"],
        ["--lifetime-days", "nan"],
        ["--export-mode", "9"],
        ["--export-mode", "0"],
        ["--key-type", "dsa"],
        ["--tls", "1.1"],
    ],
)
def test_bad_options(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Each bad option is refused with its name and what was expected, and exit status 2."""
    with pytest.raises(SystemExit) as ended:
        arguments(*options)
    assert ended.value.code == 2
    assert f"argument {options[0]}" in capsys.readouterr().err
