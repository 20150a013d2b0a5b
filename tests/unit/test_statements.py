"""services/statements.py: the SQL files, and how names get into them. psycopg2 asks a server's connection how to quote; here it is told."""

import re
from importlib import resources

import pytest
from psycopg2 import sql

from services import statements
from services.trigger import INSTALLED

FOLDER = resources.files("services").joinpath("sql")
FILES = sorted([file.name.removesuffix(".sql") for file in FOLDER.iterdir() if file.is_file()]
               + [f"migrations/{file.name.removesuffix('.sql')}" for file in FOLDER.joinpath("migrations").iterdir()])
HOSTILE = 'Or"der; $body$ {x} --%s'


@pytest.fixture(autouse=True)
def _quoting(monkeypatch):
    monkeypatch.setattr(sql.Identifier, "as_string",
                        lambda self, context: ".".join('"' + part.replace('"', '""') + '"' for part in self.strings))
    monkeypatch.setattr(sql.Literal, "as_string", lambda self, context: str(self.wrapped) if isinstance(self.wrapped, int)
                        else "'" + str(self.wrapped).replace("'", "''") + "'")


def render(name: str, part: str) -> str:
    """Render the file with the same identifier in every place."""
    places = set(re.findall(r"{(\w+)}", statements.text(name)))
    return statements.render(name, None, **{place: sql.Identifier(part) for place in places})


def test_each_part_of_the_merge_has_its_file():
    assert set(INSTALLED) < set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_file_begins_with_why(name):
    assert statements.text(name).startswith("-- ")


@pytest.mark.parametrize("name", FILES)
def test_every_placeholder_is_filled_and_nothing_is_left(name):
    made = render(name, "filled")
    assert not re.search(r"{\w*}", made) and "$body$" not in made


@pytest.mark.parametrize("name", [name for name in FILES if re.search(r"{\w+}", statements.text(name))])
def test_a_hostile_name_stays_a_name(name, monkeypatch):
    code = re.sub(r"--.*", "", statements.text(name))
    monkeypatch.setattr(statements, "text", lambda name: code)
    made = render(name, HOSTILE)
    # a function's body is one quoted text: outside of texts and names, no word of the hostile one is left
    outside = "".join("".join(made.split("'")[::2]).split('"')[::2])
    assert "der; $body$" not in outside and "--%s" not in outside
    assert '"Or""der; $body$ {x} --%s"' in made


def test_a_functions_body_becomes_one_quoted_text(monkeypatch):
    monkeypatch.setattr(statements, "text", lambda name: "CREATE FUNCTION {f}() AS $body$ SELECT 'a', {t} $body$;")
    made = statements.render("any", None, f=sql.Identifier("f"), t=sql.Identifier("it's $body$"))
    assert made == """CREATE FUNCTION "f"() AS ' SELECT ''a'', "it''s $body$" ';"""


def test_a_missing_part_is_an_error():
    with pytest.raises(KeyError):
        statements.render("companions", None)


def test_columns_with_commas():
    assert statements.joined(["a", 'b"c']).as_string(None) == '"a", "b""c"'
    assert statements.joined(["a", "b"], "new").as_string(None) == '"new"."a", "new"."b"'
    assert statements.joined([]).as_string(None) == ""
