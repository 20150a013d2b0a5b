"""README.md: a screen or two, and nothing in it that is not there. And all documents: what they point to is there.

Commands of README are read, not run: each one that it names must be one of the command line, with its options and arguments.
Links, and names of files and folders in code, must exist.
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
DOCUMENTS = [README, PROJECT / "CONTRIBUTING.md", PROJECT / "CHANGELOG.md", *sorted((PROJECT / "bench").glob("*.md")),
             *sorted((PROJECT / "docs").rglob("*.md"))]
LINES, COLUMNS = 150, 100
PACKAGES = {"bench", "chaos", "container", "docs", "esb_config", "pgunison", "services", "tests"}

# a call of the program: by its alias, or by the file
CALL = re.compile(r"(?:(?<![\w./\]-])pgunison|orchestrator\.py)(?= [\w-])((?: [\w./-]+)*)")
# a file by its ending, a folder by its slash
NAME = re.compile(r"(?<![\w./-])(?:[\w./-]+\.(?:py|sql|md|yaml|json|cfg|toml|d2|sh|mjs)\b(?!\.)|(?:[a-z_][a-z\d_-]*/)+(?![\w.*]))")
# what a run makes, and what CONTRIBUTING.md has a reader make
MADE = {"endpoints.json", "members.json", "rows.sql", "secrets/",
        "esb_config/services/table.count.yaml", "services/sql/count_insert.sql", "chaos/workloads/counters.py"}
# one is written by "make docs", the other by everybody at once
UNWRAPPED = ("services.md", "CHANGELOG.md")
LINK = re.compile(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$", re.MULTILINE)


def prose(text: str) -> str:
    """Leave fences out."""
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)


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


def lost_names(text: str, folder: Path) -> list[str]:
    """List the files and folders that a text names in code and that are nowhere; a bare name may be anywhere."""
    places = (folder, PROJECT, *(PROJECT / name for name in ("tests", "pgunison", "services")))
    known = {path.name for package in PROJECT.iterdir() if package.name in PACKAGES for path in package.rglob("*")}
    names = {found for span in re.findall(r"`([^`]+)`", prose(text)) for found in NAME.findall(span)} - MADE
    return sorted(name for name in names if not any((place / name).exists() for place in places)
                  and ("/" in name or name not in known))


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if path.name != "CHANGELOG.md"], ids=lambda path: str(path.relative_to(PROJECT)))
def test_every_file_that_is_named_is_there(document):
    text = document.read_text(encoding="utf-8")
    # what was decided otherwise since speaks of what was there
    assert lost_names(text, document.parent) == [] or re.search(r"^Replaced by \[decision", text, re.MULTILINE)


@pytest.mark.parametrize(("text", "lost"), [
    ("`services/sql/settle.sql`, `settle.sql` and `chaos/` are there", []),
    ("`services/sql/settled.sql` and `settled.sql` and `chaotic/` are not", ["chaotic/", "services/sql/settled.sql", "settled.sql"]),
    ("```\nrestore.sql\n``` and nowhere.sql are not in code", []),
])
def test_a_file_that_is_gone_is_found(text, lost):
    assert lost_names(text, PROJECT) == lost


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if path.name not in UNWRAPPED], ids=lambda path: str(path.relative_to(PROJECT)))
def test_lines_of_documents_fit_a_screen(document):
    # tables and links cannot be broken
    lines = [line for line in prose(document.read_text(encoding="utf-8")).splitlines() if len(line) > COLUMNS and not line.startswith(("|", "<", "["))]
    assert lines == []
