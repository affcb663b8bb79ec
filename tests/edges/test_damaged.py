"""Generations on a damaged volume: what is left of good pairs is found, and nothing raises."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from entrypoint.core.generation.manifest import Manifest, StoredPair
from entrypoint.edges.generations import Generations

CHAIN, KEY = "certs/a/chain-{}.pem", "certs/a/key-1.pem"


def _live(generations: Generations, tag: int) -> None:
    files = {"nginx.conf": b"events { }\n", CHAIN.format(tag): b"chain %d" % tag, KEY: b"key"}
    pair = StoredPair(CHAIN.format(tag), KEY, facts={"names": ["a.io"], "certmgr": str(tag)})
    generation = generations.stage(generations.next_number(), files, Manifest(pairs={"a": pair}, digest="d"))
    generations.publish(generation)
    generations.confirm(generation)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Two generations, each with a chain of its own; the second one is live and proved."""
    generations = Generations(tmp_path / "state")
    generations.prepare()
    _live(generations, 1)
    _live(generations, 2)
    return tmp_path / "state"


def _file(name: str) -> Callable[[Path], object]:
    def put(state: Path) -> None:
        _gone(name)(state)
        (state / name).write_bytes(b"")

    return put


def _folder(name: str) -> Callable[[Path], object]:
    def put(state: Path) -> None:
        _gone(name)(state)
        (state / name / "deep").mkdir(parents=True)

    return put


def _fifo(name: str) -> Callable[[Path], object]:
    def put(state: Path) -> None:
        _gone(name)(state)
        os.mkfifo(state / name)

    return put


def _link(name: str, to: str) -> Callable[[Path], object]:
    def put(state: Path) -> None:
        _gone(name)(state)
        (state / name).symlink_to(to)

    return put


def _gone(name: str) -> Callable[[Path], object]:
    def remove(state: Path) -> None:
        path = state / name
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)

    return remove


MANIFEST = "generations/2/manifest.json"
DAMAGE: dict[str, tuple[Callable[[Path], object], int]] = {  # and the chain that is left
    "nothing": (lambda _: None, 2),
    "current is gone": (_gone("current"), 2),
    "current is a folder": (_folder("current"), 2),
    "current is empty": (_file("current"), 2),
    "current is a FIFO": (_fifo("current"), 2),
    "current leads elsewhere": (_link("current", "/etc/2"), 2),
    "current leads up": (_link("current", "generations/../../2"), 2),
    "current leads to no number": (_link("current", "generations/two"), 2),
    "current leads nowhere": (_link("current", "generations/9"), 2),
    "verified is a folder": (_folder("verified"), 2),
    "the manifest is gone": (_gone(MANIFEST), 1),
    "the manifest is empty": (_file(MANIFEST), 1),
    "the manifest is a folder": (_folder(MANIFEST), 1),
    "the manifest is a FIFO": (_fifo(MANIFEST), 1),
    "the manifest is zeros": (lambda state: (state / MANIFEST).write_bytes(b"\0" * 999), 1),
    "the manifest is a list": (lambda state: (state / MANIFEST).write_text("[]"), 1),
    "the chain is empty": (_file("generations/2/certs/a/chain-2.pem"), 1),
    "the chain is another": (lambda state: (state / "generations/2/certs/a/chain-2.pem").write_text("chain 3"), 1),
    "the chain is a folder": (_folder("generations/2/certs/a/chain-2.pem"), 1),
    "the chain is a FIFO": (_fifo("generations/2/certs/a/chain-2.pem"), 1),
    "the key is gone": (_gone("generations/2/certs/a/key-1.pem"), 1),
    "the folder of pairs is a file": (_file("generations/2/certs"), 1),
    "the generation is gone": (_gone("generations/2"), 1),
    "the generation is a file": (_file("generations/2"), 1),
    "odd numbers": (lambda state: [_folder(f"generations/{name}")(state) for name in ("0", "07", "3²", "9" * 200)], 2),
}


@pytest.mark.parametrize("damage", list(DAMAGE))
def test_damage(state: Path, damage: str) -> None:
    """The newest pair that is whole is found, and the next generation becomes current as always."""
    harm, left = DAMAGE[damage]
    harm(state)
    generations = Generations(state)
    generations.prepare()
    found = generations.stored("a")
    assert found
    assert (found.chain_pem, found.key_pem, found.leaf.names) == (b"chain %d" % left, b"key", ("a.io",))
    current = generations.current()
    assert (current is not None and current.is_whole()) == (
        damage in ("nothing", "odd numbers") or "verified" in damage
    )
    _live(generations, 3)
    found = Generations(state).stored("a")
    assert found
    assert (found.certmgr, found.chain_pem, found.key_pem, found.leaf.names) == ("3", b"chain 3", b"key", ("a.io",))
    generations.prune()


@pytest.mark.parametrize("name", ["nginx.conf", "manifest.json", "sums.json", "certs/a/chain-2.pem", KEY])
@pytest.mark.parametrize("harm", [_file, _folder, _fifo, _gone])
def test_a_generation_that_is_not_whole(
    state: Path, name: str, harm: Callable[[str], Callable[[Path], object]]
) -> None:
    """Whichever file is not what was staged, that is known before NGINX is asked for it."""
    current = Generations(state).current()
    assert current
    assert current.is_whole()
    harm(f"generations/2/{name}")(state)
    if harm is _gone and name == "sums.json":
        pytest.skip("so are those that an older version has left")
    assert not replace(current).is_whole()


def test_a_generation_of_an_older_version(state: Path) -> None:
    """One without sums counts as whole, if it has a root file."""
    (state / "generations/2/sums.json").unlink()
    current = Generations(state).current()
    assert current
    assert current.is_whole()
    (state / "generations/2/nginx.conf").write_bytes(b"")
    assert not replace(current).is_whole()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.sampled_from(["pairs", "digest", "gates"]), st.none() | st.integers() | st.lists(st.text())))
def test_odd_manifests(state: Path, members: dict[str, object]) -> None:
    """Whatever the manifest says, the other generation's pair is found, and all questions have an answer."""
    (state / MANIFEST).write_text(json.dumps({"pairs": [], **members}))
    generations = Generations(state)
    found = generations.stored("a")
    assert found
    assert found.chain_pem == b"chain 1"
    assert generations.pair_files() == ()
    current = generations.current()
    assert current
    assert not replace(current).is_whole()
