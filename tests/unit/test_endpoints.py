"""pgunison/endpoints.py: what up writes is what a pool reads, and a file that cannot be used is told."""

import pytest

from pgunison.endpoints import FILE, Endpoint, Endpoints, find, read
from pgunison.errors import OrchestratorError

ENDPOINTS = Endpoints("lb-test", "lb-test", (Endpoint("node1", 1, "127.28.64.2", 5432, 64000), Endpoint("node2", 2, "127.28.64.3", 5432, 64000)))


def test_what_is_written_is_read(tmp_path):
    ENDPOINTS.write(tmp_path)
    assert read(tmp_path / FILE) == ENDPOINTS
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_file_that_says_the_same_stays(tmp_path):
    ENDPOINTS.write(tmp_path)
    before = (tmp_path / FILE).stat()
    ENDPOINTS.write(tmp_path)
    assert (tmp_path / FILE).stat().st_ino == before.st_ino
    Endpoints("lb-test", "lb-test", ()).write(tmp_path)
    assert read(tmp_path / FILE).nodes == ()


@pytest.mark.parametrize(("wanted", "made", "found"), [("auto", ["process"], "process"), ("auto", ["docker"], "docker"),
                                                        ("auto", ["process", "docker"], "process"), ("docker", ["process", "docker"], "docker")])
def test_finds_the_cluster_of_a_runtime(tmp_path, monkeypatch, wanted, made, found):
    monkeypatch.setenv("PGUNISON_STATE", str(tmp_path))
    folders = {"process": tmp_path / "lb-test", "docker": tmp_path / "lb-test.docker"}
    for name in made:
        folders[name].mkdir()
        ENDPOINTS.write(folders[name])
    assert find("lb-test", wanted) == folders[found] / FILE


@pytest.mark.parametrize("wanted", ["auto", "process", "docker"])
def test_says_that_there_is_no_cluster(tmp_path, monkeypatch, wanted):
    monkeypatch.setenv("PGUNISON_STATE", str(tmp_path))
    with pytest.raises(OrchestratorError, match="there is no cluster lb-test on this machine") as caught:
        find("lb-test", wanted)
    assert caught.value.hint == "python3 orchestrator.py up"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2}', '{"version": 1, "cluster": "a", "database": "b", "nodes": [{}]}',
                                  '{"version": 1, "cluster": "a", "database": "b", "nodes": [], "password": "c"}'])
def test_a_file_that_cannot_be_used_is_told(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(OrchestratorError, match="cannot be used"):
        read(tmp_path / FILE)
