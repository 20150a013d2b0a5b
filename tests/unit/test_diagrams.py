"""docs/diagrams: each picture is as its text says, and is shown."""

import hashlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DIAGRAMS = ROOT / "docs" / "diagrams"
NAMES = sorted(path.stem for path in DIAGRAMS.glob("[!_]*.d2"))
SCHEMES = ("light", "dark")
SIZE_LIMIT_BYTES = 100_000


def picture(name: str, scheme: str) -> str:
    return (DIAGRAMS / f"{name}.{scheme}.svg").read_text(encoding="utf-8")


def digest(name: str) -> str:
    """What render.mjs computes: of itself, of what all diagrams share, and of the diagram's text."""
    return hashlib.sha256(b"".join((DIAGRAMS / file).read_bytes() for file in ("render.mjs", "_style.d2", f"{name}.d2"))).hexdigest()


def test_there_is_nothing_but_pictures_and_what_they_are_made_from():
    pictures = {f"{name}.{scheme}.svg" for name in NAMES for scheme in SCHEMES}
    assert NAMES
    assert {path.name for path in DIAGRAMS.iterdir()} == pictures | {f"{name}.d2" for name in NAMES} | {"render.mjs", "_style.d2"}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_as_its_text_says(name, scheme):
    made_from = re.match(r"<!-- made by make diagrams from sha256 ([0-9a-f]{64}) -->\n<svg ", picture(name, scheme))
    assert made_from and made_from[1] == digest(name), "run: make diagrams"


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_small_and_asks_nobody(name, scheme):
    text = picture(name, scheme)
    assert len(text) < SIZE_LIMIT_BYTES
    addresses = set(re.findall(r"[a-z]+://[^\s\"'<>)]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "<script" not in text


@pytest.mark.parametrize("name", NAMES)
def test_a_diagram_is_shown_in_both_schemes_and_described(name):
    shown = re.compile(
        rf'<picture>\n<source media="\(prefers-color-scheme: dark\)" srcset="diagrams/{name}\.dark\.svg">\n'
        rf'<img alt="[^"]{{20,}}" src="diagrams/{name}\.light\.svg">\n</picture>')
    assert any(shown.search(page.read_text(encoding="utf-8")) for page in (ROOT / "docs").glob("*.md"))
