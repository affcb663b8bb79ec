"""The plan: which files make a generation, how they are called, and what the manifest says."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from entrypoint.core.generation.blame import narrowed, remarks
from entrypoint.core.generation.pairs import built_in
from entrypoint.core.x509.pem import is_encrypted
from tests.core.generation.test_rewrite import ROOT, source
from tests.support import pki, rig

CA = pki.root()
RSA = pki.issue(rig.NAME, CA, names=[rig.NAME], key=pki.rsa_key(41))
EC = pki.issue(rig.NAME, CA, names=[rig.NAME], key=pki.ec_key(41))
TWO_KEYS = {"KEY_FILE": "/keys/rsa.pem,/keys/ec.pem"}


def test_identities(tmp_path: Path) -> None:
    """There is one pair for each key file, and none without a name."""
    for changes, expected in (({}, ["site-1"]), (TWO_KEYS, ["site-1", "site-2"]), ({"SERVER_NAME": None}, [])):
        assert [pair.identity for pair in built_in(rig.settings(tmp_path, **changes))] == expected


def test_files(tmp_path: Path) -> None:
    """Chain and key lie under names that hold a hash of their content, where the configuration looks for them."""
    one, two = rig.usable(RSA, CA), rig.usable(EC, key_pem=pki.key_pem(EC.key, b"secret"))
    files = rig.plan(rig.settings(tmp_path, **TWO_KEYS), one, two).files(7)
    secrets = {name: data for name, data in files.items() if name.startswith("certs/")}
    assert set(secrets.values()) == {one.chain_pem, one.key_pem, two.chain_pem, two.key_pem}
    assert all(re.fullmatch(r"certs/www\.acme\.io/(chain|key)-[0-9a-f]{16}\.pem", name) for name in secrets)
    named = re.findall(rb'^ *ssl_certificate(?:_key)? "(.+)";', files["site.conf"], re.MULTILINE)
    assert {name.decode() for name in named} == set(secrets)
    assert b'return 200 "7\\n";' in files["status.conf"]


def test_names_follow_content(tmp_path: Path) -> None:
    """Another content has another name: NGINX keeps what it loaded under an old one."""
    chosen = rig.settings(tmp_path)
    renewed = pki.issue(rig.NAME, CA, names=[rig.NAME], key=RSA.key)
    before, after = (set(rig.plan(chosen, rig.usable(issued)).files(1)) for issued in (RSA, renewed))
    assert len(before - after) == 1
    assert len(after - before) == 1
    assert "chain" in (before - after).pop()


def test_wildcard_folder(tmp_path: Path) -> None:
    """A wildcard's folder has a name that no shell or NGINX expands."""
    files = rig.plan(rig.settings(tmp_path, SERVER_NAME="*.acme.io"), rig.usable(EC)).files(1)
    assert len([name for name in files if name.startswith("certs/_.acme.io/")]) == 2


def test_manifest(tmp_path: Path) -> None:
    """The manifest says when, why, which pairs from where, and what is commented out and why; no secret is in it."""
    chosen = rig.settings(tmp_path, **TWO_KEYS)
    encrypted = rig.usable(RSA, key_pem=pki.key_pem(RSA.key, b"hush-hush"))
    plan = rig.plan(chosen, encrypted, reasons={"site-1": "unused", "site-2": "no ECDSA yet"})
    plan = replace(plan, when="2026-01-01T00:00:00Z")
    manifest = plan.manifest(7, "renewal")
    assert manifest.generation == 7
    assert (manifest.created_at, manifest.why) == ("2026-01-01T00:00:00Z", "renewal")
    assert manifest.digest == plan.digest
    assert manifest.commented_out == {"site-2": "no ECDSA yet"}
    pair = manifest.pairs["site-1"]
    assert set(manifest.pairs) == {"site-1"}
    assert {pair.chain_file, pair.key_file} <= set(plan.files(7))
    assert pair.facts["fingerprint_sha256"] == encrypted.leaf.fingerprint_sha256
    assert b"PRIVATE KEY" not in manifest.text()
    assert b"hush" not in manifest.text()


def test_password_file(tmp_path: Path) -> None:
    """Its name depends on the encrypted keys alone, and there is none for plain keys."""
    chosen = rig.settings(tmp_path, **TWO_KEYS)
    keys = [pki.key_pem(RSA.key, b"secret"), pki.key_pem(EC.key, b"secret")]
    names = [
        rig.plan(chosen, rig.usable(RSA, key_pem=keys[0])).password_file,
        rig.plan(chosen, rig.usable(RSA, key_pem=keys[0]), rig.usable(EC, key_pem=keys[1])).password_file,
    ]
    assert rig.plan(chosen, rig.usable(RSA, CA, key_pem=keys[0]), rig.usable(EC)).password_file == names[0]
    assert len(set(names)) == 2
    assert all(Path(name).parent == tmp_path / "run" / "passwords" for name in names)
    assert rig.plan(chosen, rig.usable(RSA), rig.usable(EC)).password_file == ""
    assert rig.plan(chosen).password_file == ""


def test_is_encrypted() -> None:
    """Both forms of encrypted keys are told from plain ones."""
    for key in (RSA.key, EC.key):
        for traditional in (False, True):
            assert is_encrypted(pki.key_pem(key, b"secret", traditional=traditional))
            assert not is_encrypted(pki.key_pem(key, traditional=traditional))


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    """`repr` shows neither keys nor chains."""
    text = repr(rig.plan(rig.settings(tmp_path), rig.usable(EC)))
    assert "PRIVATE KEY" not in text
    assert "CERTIFICATE" not in text


@pytest.mark.parametrize(
    ("inside", "outside", "lines"),
    [
        ("", "", []),
        ("# certfront: lookup=www.acme.io\n", "", []),
        ("# certfront: lookup\n", "", [4]),
        ("", "# certfront: off\n", [3]),
        ("# certfront: on\n", "# certfront: lookup=_\n", [3, 5]),
    ],
)
def test_warnings(tmp_path: Path, inside: str, outside: str, lines: list[int]) -> None:
    """What is said of comments without effect names each by its file and line."""
    text = f"events {{}}\nhttp {{\n{outside}server {{\n{inside}listen 80; }}\n}}\n"
    found = rig.plan(rig.settings(tmp_path))
    assert [where for where, _ in replace(found, user=source(text)).warnings()] == [f"{ROOT}:{n}" for n in lines]


def test_without_a_configuration_of_the_users(tmp_path: Path) -> None:
    """The packaged one goes the same way, but nothing of it is the user's: nothing is kept, blamed or compared."""
    plan = rig.plan(rig.settings(tmp_path), rig.usable(EC))
    assert plan.user.packaged
    assert (plan.user.own, [*plan.user.directives()]) == ({}, [])
    assert plan.manifest(1, "test").source == ""
    assert "source.json" not in plan.files(1)
    assert (plan.copy.origin("nginx.conf", 1), [*plan.differences()], plan.warnings()) == (None, [], ())
    for said in (f"{tmp_path}/nginx.conf:5 is bad", 'open() "/dev/stdout" failed', "bind() to 0.0.0.0:80 failed"):
        assert narrowed(plan, tmp_path, said) is None
        assert remarks(plan, tmp_path, [said]) == ()
