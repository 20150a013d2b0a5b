"""esb_config/documentation.py: docs/services.md is what the definitions say, and its examples hold."""

import json
import re
from pathlib import Path

import pytest

from esb_config.definition import services
from esb_config.document import check
from esb_config.documentation import expected, text

DOCUMENT = Path(__file__).parents[2] / "docs" / "services.md"


def test_the_document_is_up_to_date():
    assert DOCUMENT.read_text(encoding="utf-8") == text(), "run: make docs"


def test_every_service_has_its_section():
    sections = dict(re.findall(r"^## (\S+)\n\n(.+)$", text(), re.MULTILINE))
    assert sections == {service.id: service.description for service in services().values()}


def test_every_example_passes_the_check():
    examples = [json.loads(example) for example in re.findall(r"```json\n(.*?)```", text(), re.DOTALL)]
    assert [example["SYSServiceID"] for example in examples] == list(services())
    for example in examples:
        check(example)


def test_every_property_has_a_row_with_a_description():
    for row in re.findall(r"^\| \**Cluster.*$", text(), re.MULTILINE):
        path, takes, *_, description = (cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1])
        assert path and takes and description, row


@pytest.mark.parametrize(("schema", "words"), [
    ({"type": "boolean"}, "boolean"),
    ({"type": "integer", "minimum": 1, "maximum": 9}, "integer from 1 to 9"),
    ({"type": "string", "enum": ["a", "b"]}, "one of `a`, `b`"),
    ({"type": "array", "items": {"type": "integer", "minimum": 0}, "maxItems": 3}, "a list of integer from 0, 3 at most"),
    ({"anyOf": [{"type": ["string", "null"]}, {"type": "object", "properties": {"function": {"enum": ["now"]}}}]},
     'string, null or {"function": one of `now`}'),
])
def test_expected_in_words(schema, words):
    assert expected(schema) == words
