"""docs/merge-of-table1.sql is what services/documentation.py writes from the files in services/sql/, for the table of sysconfig.json."""

import json
from pathlib import Path

import pytest
from psycopg2 import sql

from services import documentation
from services.texts import TABLE

PROJECT = Path(__file__).parents[2]


def test_the_document_is_what_make_docs_writes():
    written = (PROJECT / "docs" / "merge-of-table1.sql").read_text(encoding="utf-8")
    assert written == documentation.text(), "make docs, then look at what changed in docs/merge-of-table1.sql"


def test_it_has_each_file_that_a_table_gets():
    files = [file for file, _ in documentation.parts()]
    # a key of fixed length needs no limit, and a key that is drawn has its own way to outlive
    assert sorted(files) == sorted(set(TABLE) - {"key_fits", "outlive"})


def test_it_is_of_the_table_of_sysconfig_json():
    table, = json.loads((PROJECT / "sysconfig.json").read_text(encoding="utf-8"))["system"]["config"]["tables"]
    shape = documentation.TABLE1
    assert (shape.schema, shape.table) == (table["schema"], table["name"])
    assert shape.columns == (*(column["name"] for column in table["columns"]), "modified_ts", "modified_node")


def test_every_trigger_in_its_introduction_is_made_and_no_other():
    def triggers(text: str) -> set[str]:
        return {word for line in text.splitlines() for word in line.split() if word.startswith("zzz_unison_")}

    made = "".join(made for _, made in documentation.parts())
    assert triggers(documentation.INTRODUCTION) == triggers(made.replace(";", ""))


def test_names_and_values_are_written_without_a_server():
    part = sql.SQL("{} = {} AND {}").format(sql.Identifier("a", "b"), sql.Literal("it"), sql.Literal(7))
    assert documentation.plain(part).string == "\"a\".\"b\" = 'it' AND 7"


def test_a_part_of_another_kind_is_refused():
    with pytest.raises(TypeError, match="Placeholder"):
        documentation.plain(sql.Placeholder())
