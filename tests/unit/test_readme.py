"""README.md: a screen or two, and nothing in it that is not there.

Its commands are read, not run: each one that it names must be one of the command line, with its options and arguments.
What links of README and of the documents point to must exist.
"""

import re
import shlex
from pathlib import Path

import click
import pytest

from orchestrator import COMMANDS
from pgunison.cli import COMMANDS as COMMAND_MODULES
from pgunison.cli import cli

PROJECT = Path(__file__).parents[2]
README = PROJECT / "README.md"
TEXT = README.read_text(encoding="utf-8")
DOCUMENTS = [README, *(PROJECT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "bench/README.md")), *sorted((PROJECT / "docs").rglob("*.md"))]
LINES, COLUMNS = 150, 100

# a call of the program: by its alias, or by the file
CALL = re.compile(r"(?:(?<![\w./\]-])pgunison|orchestrator\.py)(?= [\w-])((?: [\w./-]+)*)")
LINK = re.compile(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$", re.MULTILINE)


def code(text: str) -> list[str]:
    """List what stands in code: the lines of fences without their comments, and what is in backticks."""
    fence = re.compile(r"^```.*?\n(.*?)^```", re.MULTILINE | re.DOTALL)
    lines = [line.split(" #")[0].rstrip() for block in fence.findall(text) for line in block.splitlines()]
    return lines + [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", fence.sub("", text))]


def calls(text: str) -> list[list[str]]:
    """List the arguments of every call of the program."""
    return [shlex.split(found[1]) for line in code(text) for found in CALL.finditer(line)]


def parse(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Take arguments as the command line does, with commands that do nothing; click.UsageError when it does not."""
    monkeypatch.setattr(cli, "modules", COMMAND_MODULES | COMMANDS)
    context = click.Context(cli)
    for command in (cli, *(cli.get_command(context, name) for name in cli.list_commands(context))):
        monkeypatch.setattr(command, "callback", lambda **_: None)
    cli.main(list(arguments), prog_name="pgunison", standalone_mode=False)


def anchors(document: Path) -> set[str]:
    """List the anchors that the headings of a document get."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_short():
    lines = TEXT.splitlines()
    assert len(lines) < LINES
    assert {number: len(line) for number, line in enumerate(lines, 1) if len(line) > COLUMNS} == {}


def test_the_readme_shows_the_commands_that_a_reader_needs_first():
    named = {arguments[0] for arguments in calls(TEXT)}
    assert {"status", "dsn", "test", "verify", "conflicts", "logs", "down"} <= named


@pytest.mark.parametrize("arguments", calls(TEXT), ids=" ".join)
def test_every_command_of_the_readme_is_one_of_the_command_line(arguments, monkeypatch):
    parse(arguments, monkeypatch)


@pytest.mark.parametrize("text", [
    "```\npgunison levitate\n```",
    "```\npgunison status --xml     # a comment\n```",
    "```\n$ psql \"$(pgunison dsn --role nobody node3)\" -c 'SELECT 1'\n```",
    "so say `python3 orchestrator.py\n--runtime cloud` and see",
])
def test_a_command_that_does_not_exist_is_found(text, monkeypatch):
    found = calls(text)
    assert len(found) == 1
    with pytest.raises(click.UsageError):
        parse(found[0], monkeypatch)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake\s+(\w+)\b(?=`|  )", TEXT))))
def test_every_target_of_make_exists(target):
    assert re.search(rf"^{target}:", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_every_link_to_a_file_leads_somewhere(document):
    links = [a or b for a, b in LINK.findall(document.read_text(encoding="utf-8"))]
    lost = []
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []
