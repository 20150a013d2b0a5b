"""chaos/options.py and the command: what may be asked for, and how it is written down again."""

import inspect
import sys
from pathlib import Path

import pytest

from chaos import container_faults, faults
from chaos.command import command as chaos_command
from chaos.options import DOCKER_FAULTS, FAULTS, PLANTS, SIGNALS, Options, fault_list
from chaos.planted import PLANTS as PLANTED
from chaos.report import Report
from chaos.schedule import schedule
from orchestrator import COMMANDS
from pgunison import cli
from pgunison.errors import UsageError

DEFAULT = Path(__file__).parents[2] / "sysconfig.json"


@pytest.mark.parametrize(("text", "names"), [
    ("all", tuple(FAULTS)), ("none", ()), ("pause", ("pause",)), ("clock, pause", ("pause", "clock")), ("pause,pause", ("pause",)),
    ("-disk", tuple(name for name in FAULTS if name != "disk")), ("-disk,-stop", tuple(name for name in FAULTS if name not in ("disk", "stop"))),
    ("pause,cut,-cut", ("pause",))])
def test_faults_are_named_with_commas_in_any_order(text, names):
    assert fault_list(text) == names


@pytest.mark.parametrize("text", ["", ",", "paus", "pause,all", "none,pause", "--disk", "-all", "Pause", "pause cut"])
def test_a_wrong_name_tells_the_right_ones(text):
    with pytest.raises(UsageError) as found:
        fault_list(text)
    assert all(name in found.value.detail for name in FAULTS)


def test_the_command_repeats_the_options():
    options = Options(seed=5, seconds=7, nodes=4, faults=("pause", "clock"), plant="tie")
    assert options.command() == "python3 orchestrator.py chaos --seed 5 --seconds 7 --nodes 4 --faults pause,clock --plant tie"
    assert Options(seed=5).command() == "python3 orchestrator.py chaos --seed 5 --seconds 60 --nodes 3 --faults all"
    assert Options(seed=5, faults=()).command().endswith("--faults none")
    for faults_asked in ((), ("pause", "clock"), tuple(FAULTS)):
        written = Options(faults=faults_asked).command().split("--faults ")[1]
        assert fault_list(written) == faults_asked


def test_the_first_line_says_everything():
    assert str(Options(seed=5, faults=("pause",))) == "seed 5, 60 s, 3 nodes, faults: pause"
    assert str(Options(seed=5, faults=(), plant="sweep")) == "seed 5, 60 s, 3 nodes, faults: none, nobody sweeps"


def test_without_a_seed_one_is_drawn():
    assert len({Options().seed for _ in range(20)}) > 1


def test_every_fault_has_a_class_and_every_class_a_sentence():
    events = [event for runtime in ("process", "docker") for event in schedule(Options(seed=1, seconds=200, runtime=runtime))]
    classes = {each for module in (faults, container_faults) for _, each in inspect.getmembers(module, inspect.isclass)
               if issubclass(each, faults.Fault) and each not in (faults.Fault, container_faults.ContainerFault)}
    assert {type(event.fault) for event in events} == classes
    assert all(not str(event.fault).startswith(type(event.fault).__name__ + "(") for event in events)


def test_the_command_line_knows_every_plant():
    choice = next(parameter for parameter in chaos_command.params if parameter.name == "plant").type
    assert list(choice.choices) == list(PLANTS) == list(PLANTED)


@pytest.mark.parametrize(("words", "said"), [
    (["--faults", "frob"], "no fault is named frob"), (["--seconds", "0"], "seconds"), (["--nodes", "1"], "nodes"), (["--seed", "x"], "seed"),
    (["--plant", "frob"], "plant"), (["node1"], "node1")])
def test_a_wrong_option_starts_nothing(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.setenv("PGUNISON_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(sys, "argv", ["orchestrator.py", "--config", str(DEFAULT), "chaos", *words])
    assert cli.main(COMMANDS) == 2
    told = capsys.readouterr().err
    assert said in told.splitlines()[0] and told.splitlines()[-1].startswith("hint: ")
    assert not (tmp_path / "state").exists()


def test_what_a_fault_makes_statements_meet_is_expected_only_with_it():
    assert Options(seed=1, faults=("pause",)).expected == ()
    assert "42P01" in Options(seed=1, faults=("pause", "settings")).expected


def test_containers_suffer_other_faults():
    asked = Options(seed=5, runtime="docker")
    assert asked.faults == fault_list("all", "docker") == tuple(DOCKER_FAULTS)
    assert asked.command() == "python3 orchestrator.py --runtime docker chaos --seed 5 --seconds 60 --nodes 3 --faults all"
    assert str(asked).startswith("seed 5, 60 s, 3 nodes as containers, faults: pause")
    assert "disk" not in asked.faults and set(SIGNALS) < set(asked.faults)
    assert fault_list("-drop", "docker") == asked.without("drop").faults
    with pytest.raises(UsageError, match="no fault is named disk") as refused:
        fault_list("disk", "docker")
    assert "restart-all" in refused.value.detail
    with pytest.raises(UsageError, match="no fault is named drop"):
        fault_list("drop")


def test_chaos_takes_containers_only_when_they_are_asked_for(monkeypatch):
    asked = []
    monkeypatch.setattr("chaos.command.run", lambda options, document, say: asked.append(options) or Report(options))
    for words in ([], ["--runtime", "process"], ["--runtime", "docker"]):
        monkeypatch.setattr(sys, "argv", ["orchestrator.py", "--config", str(DEFAULT), *words, "chaos"])
        assert cli.main(COMMANDS) == 0
    assert [options.runtime for options in asked] == ["process", "process", "docker"]
    assert asked[2].faults == tuple(DOCKER_FAULTS)
