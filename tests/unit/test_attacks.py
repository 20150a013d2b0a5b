"""docs/attacks.md: every test that it names is there, be it by the words of its name."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
LINES = [line for line in (PROJECT / "docs" / "attacks.md").read_text(encoding="utf-8").splitlines() if re.match(r"\| (?!attack \|)", line)]
CELLS = sorted({line.split("|")[-2].strip() for line in LINES} - {"the same", "by the above"})
FILES = {path: path.read_text(encoding="utf-8") for path in sorted((PROJECT / "tests").rglob("test_*.py"))}


def named(cell: str) -> list[str]:
    """List the tests of the files that a cell names, of all files when it names none."""
    names = re.findall(r"(?:\w+/)*test_\w+\.py", cell)
    assert all(any(path.match(name) for path in FILES) for name in names), f"no such file: {cell}"
    texts = [text for path, text in FILES.items() if not names or any(path.match(name) for name in names)]
    return [test for text in texts for test in re.findall(r"^def (test_\w+)\(", text, re.MULTILINE)]


def test_lines_are_found():
    assert len(LINES) > 80 and len(CELLS) > 50


@pytest.mark.parametrize("cell", CELLS)
def test_what_a_line_names_is_there(cell):
    known = named(cell)
    assert known
    # by its name, which may be cut
    names = re.findall(r"\b(test_\w+)(?!\w|\.py)(…|\.\.\.)?", cell)
    for name, cut in names:
        assert name in known or cut and any(test.startswith(name) for test in known), f"there is no {name}"
    # by its words
    words = cell.rpartition("`: ")[2] if "`: " in cell else "" if "`" in cell or ".py" in cell else cell
    for each in words.split(", ") if not names else ():
        found = re.sub(r"\W+", "_", each).strip("_")
        assert any(found in test for test in known), f"there is no test of {each}"
