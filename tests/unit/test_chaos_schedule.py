"""chaos/schedule.py: the same options give the same schedule, and no node suffers two things at once."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.container_faults import RestartAll
from chaos.faults import Fault, FullDisk, Jump, Stop
from chaos.options import DOCKER_FAULTS, FAULTS, Options
from chaos.schedule import MOST_OFFSET_S, ONCE, offsets, schedule


def options_of(runtime: str, faults: dict[str, str]) -> st.SearchStrategy[Options]:
    some = st.sets(st.sampled_from(list(faults))).map(lambda names: tuple(name for name in faults if name in names))
    return st.builds(Options, seed=st.integers(0, 10**6), seconds=st.integers(1, 90), nodes=st.integers(2, 6), faults=some, runtime=st.just(runtime))


OPTIONS = st.one_of(options_of("process", FAULTS), options_of("docker", DOCKER_FAULTS))


@given(OPTIONS)
def test_the_same_options_draw_the_same_faults(options):
    assert [str(event) for event in schedule(options)] == [str(event) for event in schedule(options)]
    assert offsets(options) == offsets(options)


@given(OPTIONS)
def test_faults_begin_in_order_and_in_time(options):
    events = schedule(options)
    begin = [event.at_s for event in events]
    assert begin == sorted(begin) and all(0 <= at_s < options.seconds for at_s in begin)
    assert all(0 <= event.lasts_s <= options.seconds for event in events)


@given(OPTIONS)
def test_a_node_suffers_one_thing_at_a_time(options):
    until = {}
    for event in schedule(options):
        for node in event.fault.nodes:
            assert event.at_s > until.get(node, -1.0)
            until[node] = event.at_s + event.lasts_s


@given(OPTIONS)
def test_nobody_is_struck_who_is_not_there(options):
    nodes = {f"node{k}" for k in range(1, options.nodes + 1)}
    for event in schedule(options):
        struck = struck_nodes(event.fault)
        assert struck and struck <= nodes


def struck_nodes(fault: Fault) -> set[str]:
    links = getattr(fault, "links", ()) or ((fault.link,) if hasattr(fault, "link") else ())
    return set(fault.nodes) | {name for name in (getattr(fault, "where", None), *(end for link in links for end in link)) if name}


@pytest.mark.parametrize("seed", range(30))
def test_a_run_of_a_minute_has_every_fault(seed):
    events = schedule(Options(seed=seed))
    assert sum(isinstance(event.fault, FullDisk) for event in events) == 1
    assert sum(isinstance(event.fault, Stop) for event in events) == 1
    sentences = " ".join(str(event.fault) for event in events)
    for words in ("pause", "cut", "kill -9 of PostgreSQL", "immediate restart", "kill -9 of the agent", "the walsender", "the apply worker", "freeze", "clock",
                  "in the database of", "what the agent of"):
        assert words in sentences


@pytest.mark.parametrize("seed", range(30))
def test_a_run_of_a_minute_with_containers_has_every_fault(seed):
    events = schedule(Options(seed=seed, runtime="docker"))
    assert sum(isinstance(event.fault, RestartAll) for event in events) == 1
    sentences = " ".join(str(event.fault) for event in events)
    for words in ("pause the container", "kill the container", "off the network", "drop what"):
        assert words in sentences


@pytest.mark.parametrize(("where", "name"), [("process", name) for name in FAULTS] + [("docker", name) for name in DOCKER_FAULTS])
def test_a_fault_that_is_asked_for_alone_comes_alone(where, name):
    events = schedule(Options(seed=3, faults=(name,), runtime=where))
    assert len({type(event.fault) for event in events}) == 1
    assert len(events) == 1 if name in ONCE else len(events) > 10


def test_no_faults():
    assert schedule(Options(seed=1, faults=())) == []
    assert set(offsets(Options(seed=1, faults=("pause",))).values()) == {timedelta(0)}


def test_clocks_are_off_by_milliseconds_and_by_hours_early_and_late():
    drawn = [event.fault.offset.total_seconds() for seed in range(20) for event in schedule(Options(seed=seed)) if isinstance(event.fault, Jump)]
    assert max(map(abs, drawn)) <= MOST_OFFSET_S
    assert min(drawn) < -3600 and max(drawn) > 3600 and any(abs(offset) < 0.1 for offset in drawn)
