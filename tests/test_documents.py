"""The outcomes in README.md and the targets of make in it and CONTRIBUTING.md exist; `test_cli.py` has the rest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from entrypoint.core.model import Outcome

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def _first_cells(heading: str) -> set[str]:
    """All that stands in backticks in the first cells of the table that follows a heading row."""
    rows = README.partition(heading)[2].partition("\n\n")[0].splitlines()
    return {word for row in rows for word in re.findall(r"`([^`]+)`", row.split("|")[1] if "|" in row else "")}


def test_readme_has_every_outcome() -> None:
    """The table of outcomes has a row for each, and for no other."""
    assert _first_cells("| outcome | what it means, and what to do |") == set(Outcome)


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_targets_of_make_exist(document: str) -> None:
    """Every `make` target that a document names exists."""
    text = (ROOT / document).read_text("utf-8")
    named = set(re.findall(r"(?:^ {4}|`)make ([a-z-]+)", text, re.MULTILINE))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert named <= targets
