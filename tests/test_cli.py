"""What the command, its help, its completion and the documents name exists; colour is for terminals."""

from __future__ import annotations

import ast
import os
import pty
import re
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from entrypoint import cli, environment
from tests.support import rig

DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/architecture.md", "docker-compose.yml")
# In backticks, or behind a program that leads to it.
COMMAND = re.compile(r"(?:`|\bexec certfront |\.venv/bin/|\bcertfront |command: >\s+)certfront ([a-z-][^`#\n]*)")
COMMANDS = cast("dict[str, ArgumentParser]", cli._parser(["demo-certmgr"])._subparsers._group_actions[0].choices)  # type: ignore[union-attr]
HELPS = {"": cli._parser([]), **COMMANDS}


def _variables() -> set[str]:
    reader = environment._Reader({})
    environment._read(reader)
    return reader.known


def _literals() -> Iterator[str]:
    for path in (rig.ROOT / "entrypoint").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value.rpartition("/")[2]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_call_commands_that_exist(document: str) -> None:
    """Every call of certfront in a document can be parsed."""
    for call in COMMAND.findall((rig.ROOT / document).read_text()):
        arguments = call.split()
        if arguments[0] not in ("--help", "lines"):  # the latter is container.sh's own
            cli._parser(arguments).parse_args(arguments)


@pytest.mark.parametrize("command", list(HELPS))
def test_help_names_what_exists(command: str) -> None:
    """Variables in the help are read, files in it are known to the code, and each option has its sentence."""
    text = HELPS[command].format_help()
    names = set(re.findall(r"\b[A-Z]+_[A-Z_]+\b", text))
    assert names <= _variables()
    assert set(re.findall(r"\b\w+\.(?:json|pem|txt|conf)\b", text)) <= set(_literals())
    assert all(action.help for action in HELPS[command]._actions if action.option_strings)
    assert "not yet" not in text


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_is_there(command: str) -> None:
    """Each answers `--help`, and leads to a function."""
    with pytest.raises(SystemExit) as ended:
        cli._parser([command]).parse_args([command, "--help"])
    assert ended.value.code == 0
    assert callable(COMMANDS[command].get_default("call"))


def test_the_container_knows_the_commands() -> None:
    """container.sh tells them from programs of the base image's."""
    script = (rig.ROOT / "entrypoint" / "container.sh").read_text()
    listed = re.search(r"^    (agent \|.*) \| -\*\)$", script, re.MULTILINE)
    assert listed
    assert {"run", *listed[1].split(" | ")} == set(COMMANDS)


@pytest.mark.process
def test_completion_offers_them(tmp_path: Path) -> None:
    """What a shell offers behind `certfront` are the commands, and the options of the whole."""
    asked = {"_ARGCOMPLETE": "1", "COMP_LINE": "certfront ", "COMP_POINT": "10", "_ARGCOMPLETE_IFS": "\n"}
    answer = tmp_path / "answer"
    variables = rig.python_environment(**asked, _ARGCOMPLETE_STDOUT_FILENAME=str(answer))
    command = [sys.executable, "-m", "entrypoint"]
    subprocess.run(command, env=variables, check=True, timeout=60, stdin=subprocess.DEVNULL)
    offered = {word.strip() for word in answer.read_text().split("\n")}
    assert {word for word in offered if not word.startswith("-")} == set(COMMANDS)


CODE = "from entrypoint import cli; print(cli._colour())"


@pytest.mark.process
@pytest.mark.parametrize(("changes", "expected"), [({}, b"True"), ({"NO_COLOR": "1"}, b"False")])
def test_colour_on_a_terminal(changes: dict[str, str], expected: bytes) -> None:
    """On a real terminal there is colour, unless NO_COLOR is set."""
    ours, theirs = pty.openpty()
    try:
        variables = {name: value for name, value in rig.python_environment().items() if name != "NO_COLOR"}
        subprocess.run(rig.python(CODE), stdout=theirs, check=True, env=variables | changes)
        assert os.read(ours, 1000).strip() == expected
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.process
def test_no_colour_elsewhere() -> None:
    """In a pipe there is no colour."""
    done = subprocess.run(rig.python(CODE), capture_output=True, check=True, env=rig.python_environment())
    assert done.stdout == b"False\n"
