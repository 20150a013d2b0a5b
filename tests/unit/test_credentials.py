"""pgunison/credentials.py: passwords are made once, kept private, and shown nowhere."""

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from pgunison import credentials
from pgunison.cluster.site import Site
from pgunison.configuration.sysconfig import Role, load
from pgunison.errors import OrchestratorError, UsageError

CONFIGURATION = load(Path(__file__).parents[2] / "sysconfig.json")
ROLES = {role.name for role in CONFIGURATION.roles}


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "cluster" / "secrets"


@pytest.fixture
def given(tmp_path):
    """Write a password file, and return a configuration that names it."""
    def given(content, mode: int = 0o600):
        path = tmp_path / "given.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        path.chmod(mode)
        return replace(CONFIGURATION, password_file=path)

    return given


def modes(directory: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


def test_every_role_gets_a_password_of_its_own(directory):
    assert not credentials.exist(directory)
    made = credentials.ensure(CONFIGURATION, directory)
    assert credentials.exist(directory)
    assert set(made.passwords) == ROLES
    assert len(set(made.passwords.values()) | {made.token}) == len(ROLES) + 1
    assert min(map(len, [*made.passwords.values(), made.token])) >= 32


def test_only_the_owner_can_read_them(directory):
    import os
    before = os.umask(0)
    try:
        credentials.ensure(CONFIGURATION, directory)
    finally:
        os.umask(before)
    assert modes(directory) == {"passwords.json": 0o600, "agent-token": 0o600, "passfile": 0o600}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_the_second_time_they_are_the_same_and_no_file_is_written(directory):
    first = credentials.ensure(CONFIGURATION, directory)
    written = {path: path.stat().st_mtime_ns for path in directory.iterdir()}
    assert credentials.ensure(CONFIGURATION, directory) == first
    assert {path: path.stat().st_mtime_ns for path in directory.iterdir()} == written


def test_a_new_role_gets_one_and_the_others_keep_theirs(directory):
    first = credentials.ensure(CONFIGURATION, directory)
    second = credentials.ensure(replace(CONFIGURATION, roles=(*CONFIGURATION.roles, Role("writer9", "writer"))), directory)
    assert second.passwords.items() > first.passwords.items()
    assert second.token == first.token
    assert "writer9" in second.passfile.read_text()


def test_a_role_that_is_not_configured_for_a_while_keeps_its_password(directory):
    first = credentials.ensure(CONFIGURATION, directory)
    credentials.ensure(replace(CONFIGURATION, roles=CONFIGURATION.roles[1:]), directory)
    assert credentials.ensure(CONFIGURATION, directory) == first


def test_who_only_reads_changes_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("PGUNISON_STATE", str(tmp_path))
    with Site.of(CONFIGURATION, "process", make=True) as made:
        before = {path: path.read_bytes() for path in (made.directory / "secrets").iterdir()}
    other = replace(CONFIGURATION, roles=(*CONFIGURATION.roles[1:], Role("writer9", "writer")))
    with Site.of(other, "process") as site:
        assert site.credentials == made.credentials
        with pytest.raises(UsageError, match="writer9") as refused:
            site.dsn("writer9")
    assert refused.value.hint == "python3 orchestrator.py up"
    assert {path: path.read_bytes() for path in before} == before


def test_an_interruption_between_the_files_is_made_good(directory):
    first = credentials.ensure(CONFIGURATION, directory)
    for name in ("agent-token", "passfile"):
        (directory / name).unlink()
        assert not credentials.exist(directory)
    again = credentials.ensure(CONFIGURATION, directory)
    assert again.passwords == first.passwords
    assert modes(directory)["agent-token"] == 0o600 and again.passfile.exists()


def test_nothing_shows_them(directory):
    made = credentials.ensure(CONFIGURATION, directory)
    assert not any(secret in f"{made!r} {made}" for secret in [*made.passwords.values(), made.token])


def test_the_passfile_is_one_that_libpq_reads(directory, given):
    made = credentials.ensure(given({"writer1": "a:b\\c:d-long", "reader1": "plain-and-long"}), directory)
    lines = made.passfile.read_text().splitlines()
    assert "*:*:*:writer1:a\\:b\\\\c\\:d-long" in lines
    assert "*:*:*:reader1:plain-and-long" in lines
    assert len(lines) == len(ROLES)


# --- a file that the configuration names ---


def test_given_passwords_are_taken_and_the_others_made(directory, given):
    made = credentials.ensure(given({"writer1": "given-password"}), directory)
    assert made.passwords["writer1"] == "given-password"
    assert set(made.passwords) == ROLES


def test_a_given_password_replaces_one_that_was_made(directory, given):
    first = credentials.ensure(CONFIGURATION, directory)
    second = credentials.ensure(given({"writer1": "given-password"}), directory)
    assert second.passwords == first.passwords | {"writer1": "given-password"}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_file_that_others_can_read(directory, given, mode):
    with pytest.raises(UsageError, match="can be read by others") as refused:
        credentials.ensure(given({}, mode), directory)
    assert f"{mode:o}" in refused.value.detail and "chmod 600" in refused.value.hint


@pytest.mark.parametrize("content", [
    {"writer1": "hunter2"}, {"writer1": "hunter2-" * 40}, {"writer1": "hunter2-\nhunter2"}, {"writer1": "hunter2-\0-hunter2"}, {"writer1": 12345678},
    {"writer1": ["hunter2-hunter2"]}, {"writer1": None}, {"nobody": "hunter2-hunter2"}, ["hunter2-hunter2"], "hunter2-hunter2", "{hunter2", "1"])
def test_a_file_that_is_wrong_is_refused_without_showing_it(directory, given, content):
    with pytest.raises(OrchestratorError) as refused:
        credentials.ensure(given(content), directory)
    said = str(refused.value)
    assert "given.json" in said and "hunter2" not in said and "12345678" not in said
    assert "writer1" in said or not isinstance(content, dict) or "nobody" in said


def test_a_wrong_file_is_wrong_usage(directory, given):
    with pytest.raises(UsageError):
        credentials.ensure(given("{not json"), directory)


def test_a_file_that_is_not_there(directory, tmp_path):
    with pytest.raises(UsageError, match="cannot be read") as refused:
        credentials.ensure(replace(CONFIGURATION, password_file=tmp_path / "none.json"), directory)
    assert "$.system.config.passwords.file" in refused.value.hint


def test_a_spoilt_store_is_named_and_not_shown(directory):
    credentials.ensure(CONFIGURATION, directory)
    (directory / "passwords.json").write_text('{"writer1": "hunter2')
    with pytest.raises(OrchestratorError, match="passwords.json") as refused:
        credentials.ensure(CONFIGURATION, directory)
    assert "hunter2" not in str(refused.value)
