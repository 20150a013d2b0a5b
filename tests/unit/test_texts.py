"""services/texts.py: every SQL file has its time, and every change of one that stays in a database is another version."""

import re
from collections import Counter

import pytest

from pgunison.contract.phase import PHASES
from services import statements
from services.texts import DATABASE, MIGRATIONS, QUERY, TABLE, code_digest, database_digest
from tests.unit.test_statements import FILES


def test_each_file_is_of_exactly_one_kind():
    listed = Counter([*DATABASE, *TABLE, *QUERY, *MIGRATIONS])
    assert set(FILES) == set(listed), "a new file belongs into one of the lists of services/texts.py"
    assert set(listed.values()) == {1}


def test_what_is_asked_for_each_time_makes_nothing_that_stays():
    for name in QUERY:
        assert not re.search(r"^\s*(CREATE|ALTER|GRANT|REVOKE)\b", statements.text(name), re.MULTILINE), f"{name} belongs to DATABASE or TABLE"


def test_migrations_are_numbered_from_one_without_a_gap():
    assert [int(re.fullmatch(r"migrations/(\d{4})_\w+", name)[1]) for name in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_texts_know_the_phases_that_the_programs_know_and_no_other():
    named = {name: set(re.findall(r"'(\w+)'", found)) for name in [*DATABASE, *TABLE, *QUERY]
             for found in [" ".join(re.findall(r"phase (?:text NOT NULL DEFAULT|=|<>|IN) ('\w+'|\(.*?\))", statements.text(name)))] if found}
    assert named["schema"] == set(PHASES)
    assert set.union(*named.values()) == set(PHASES)


@pytest.mark.parametrize(("digest", "names"), [(database_digest, [*DATABASE, *MIGRATIONS]), (code_digest, TABLE)])
def test_another_text_is_another_version(digest, names, monkeypatch):
    before, text = digest(), statements.text
    assert before == digest()
    for changed in names:
        monkeypatch.setattr(statements, "text", lambda name, changed=changed: text(name) + ("-- changed" if name == changed else ""))
        assert digest() != before
