"""pgunison/runtime/engine.py: what the Docker engine and its library say, as errors that tell what to do; pgunison/runtime/choice.py."""

import contextlib
import gc
import socket
from pathlib import Path

import docker
import pytest
import requests

from pgunison.configuration.sysconfig import load
from pgunison.errors import OrchestratorError, UsageError
from pgunison.runtime import choice, engine
from pgunison.runtime.containers import DockerRuntime
from pgunison.runtime.process import ProcessRuntime

PROJECT = Path(__file__).resolve().parents[2]


def refusal(text: str) -> docker.errors.APIError:
    return docker.errors.APIError("500 Server Error", explanation=text)


@pytest.mark.parametrize(("said", "message"), [
    ("Pool overlaps with other one on this address space", "the subnet overlaps another network of this machine"),
    ("Address already in use", "an address of the cluster is taken"),
    ('Conflict. The container name "/lb-test-node1" is already in use by container "abc"', "a container that is not of this cluster has the name of a node"),
    ("error while removing network: network x id y has active endpoints", "other containers use the cluster's network"),
    ("something\nelse", "the Docker engine could not start node1")])
def test_what_the_engine_refuses_is_explained(said, message):
    with pytest.raises(OrchestratorError) as refused, engine.asked_to("start node1"):
        raise refusal(said)
    assert refused.value.message == message
    assert refused.value.detail == " ".join(said.split()) and refused.value.hint


def test_an_engine_that_is_gone_is_explained():
    with pytest.raises(OrchestratorError, match="did not start node1") as refused, engine.asked_to("start node1"):
        raise requests.exceptions.ConnectionError("Connection aborted")
    assert "Connection aborted" in refused.value.detail


def test_our_own_errors_pass():
    with pytest.raises(OrchestratorError, match="^error: ours$"), engine.asked_to("start node1"):
        raise OrchestratorError("ours")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_engine_answers(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(OrchestratorError, match="no Docker engine answers") as refused:
        engine.connect()
    assert "none.sock" in refused.value.detail
    assert not engine.answers()
    # the library leaves a socket to the garbage collector
    gc.collect()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_something_else_answers(monkeypatch, tmp_path):
    """A socket that nobody serves."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(tmp_path / "docker.sock"))
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
        assert not engine.answers()
    # the library leaves a socket to the garbage collector
    gc.collect()


def test_a_socket_that_may_not_be_used_is_explained(monkeypatch):
    def refuse(**_):
        # as docker, requests and urllib3 wrap it
        raise docker.errors.DockerException("Error while fetching server API version") from requests.exceptions.ConnectionError(
            "Connection aborted.", PermissionError(13, "Permission denied"))

    # by TCP, so that nothing is tried before
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:2375")
    monkeypatch.setattr(docker, "from_env", refuse)
    with pytest.raises(OrchestratorError, match="may not be used by this user") as refused:
        engine.connect()
    assert "group docker" in refused.value.hint


@pytest.mark.parametrize(("engine_answers", "processes", "chosen"), [
    (False, False, ProcessRuntime), (True, False, DockerRuntime), (True, True, ProcessRuntime), (False, True, ProcessRuntime)])
def test_auto_takes_docker_unless_the_cluster_is_there_as_processes(monkeypatch, tmp_path, engine_answers, processes, chosen):
    monkeypatch.setenv("PGUNISON_STATE", str(tmp_path))
    monkeypatch.setattr(engine, "answers", lambda: engine_answers)
    if processes:
        (tmp_path / "lb-test" / "nodes").mkdir(parents=True)
    assert choice.choose("auto", "lb-test") is chosen
    assert choice.choose("docker", "lb-test") is DockerRuntime
    assert choice.choose("process", "lb-test") is ProcessRuntime


def test_a_node_that_is_a_process_takes_no_certificates(tmp_path):
    configuration = load(PROJECT / "sysconfig.json")
    runtime = ProcessRuntime(configuration, tmp_path, None)
    assert runtime.certificates is None
    with pytest.raises(UsageError, match="node1 has no certificates"):
        runtime.put_certificates(configuration.node("node1"))
