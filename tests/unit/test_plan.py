"""pgunison/cluster/plan.py and pgunison/cluster/steps.py: every plan leads to the desired state, from every interrupted step, and no row is lost on the way."""

import copy
from dataclasses import replace

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from pgunison.cluster.execute import ROUNDS
from pgunison.cluster.plan import narrow, plan
from pgunison.cluster.state import ClusterState, Link, LinkState, NodeState
from pgunison.cluster.steps import AdmitNode, AwaitLinks, AwaitNode, OpenTable, PrepareNode, Publish, ReplaceNode, SetUpTable, StartNode, Step, Subscribe
from pgunison.errors import OrchestratorError
from tests.unit.world import MENDED_BY_WAITING, ROLES, Stuck, World, absent, table, wanted

ONE = table("table1")
TWO = table("table2")
SIZES = [1, 2, 3, 5, 12]


def safe(world: World) -> bool:
    """Tell whether the invariants hold."""
    try:
        world.check()
    except AssertionError as broken:
        note(f"to begin with: {broken}")
        return False
    return True


def take(world: World, step: Step) -> None:
    """Run one step with writers at work; invariants that held still hold."""
    held = safe(world)
    world.run(step)
    if held:
        world.check()
    world.write()


def bring_up(world: World, desired: ClusterState, interrupt_after: int | None = None, only: str | None = None) -> list[Step]:
    """Do what pgunison/cluster/execute.py does; returns the steps taken. With ``interrupt_after``, stop in the middle after that many."""
    taken: list[Step] = []
    for _ in range(ROUNDS):
        steps = plan(desired, world.look()) if only is None else plan(*narrow(desired, world.look(), only))
        if not steps:
            return taken
        for step in steps:
            if len(taken) == interrupt_after:
                return taken
            take(world, step)
            taken.append(step)
    raise AssertionError(f"not done after {ROUNDS} rounds; still to do: {[str(step) for step in plan(desired, world.look())]}")


def assert_done(world: World, desired: ClusterState) -> None:
    """All is as desired, and every row that was ever written is on every node."""
    assert world.look() == desired
    assert plan(desired, world.look()) == []
    world.look().check_invariants()
    first = world.rows[desired.nodes[0].name]
    assert all(rows == first for rows in world.rows.values()), "rows were lost"


def up(desired: ClusterState) -> World:
    world = World(absent(desired))
    bring_up(world, desired)
    return world


# --- the plan of an empty cluster ---


@pytest.mark.parametrize("nodes", SIZES)
def test_the_plan_of_an_empty_cluster_leads_to_the_desired_state(nodes):
    desired = wanted(nodes, ONE, TWO)
    state = absent(desired)
    for step in plan(desired, state):
        state = step.after(state)
        state.check_invariants()
    assert state == desired
    assert plan(desired, state) == []


@pytest.mark.parametrize("nodes", SIZES)
def test_steps_do_what_their_after_says(nodes):
    desired = wanted(nodes, ONE, TWO)
    world = World(absent(desired))
    state = world.look()
    for step in plan(desired, state):
        state = step.after(state)
        take(world, step)
        found = world.look(hidden=False)
        found.check_invariants()
        assert found.nodes == state.nodes
        # the world's apply workers connect at once
        assert {link for link in found.links if link.state != "streaming"} == {link for link in state.links if link.state not in ("starting", "streaming")}
    assert_done(world, desired)


@pytest.mark.parametrize("nodes", [2, 3, 5])
def test_nodes_join_one_after_another(nodes):
    steps = plan(wanted(nodes, ONE), absent(wanted(nodes, ONE)))
    joining = 1
    for step in steps:
        if isinstance(step, AdmitNode):
            assert step.node == f"node{joining}"
            joining += 1
        elif isinstance(step, Subscribe):
            assert {int(step.source[4:]), int(step.target[4:])} <= set(range(1, joining + 1))
            assert f"node{joining}" in (step.source, step.target)
        elif not isinstance(step, StartNode):
            assert step.node == f"node{joining}"
    assert joining == nodes + 1


def test_processes_start_side_by_side_before_anything_else():
    steps = plan(wanted(3, ONE), absent(wanted(3, ONE)))
    assert steps[:3] == [StartNode("node1"), StartNode("node2"), StartNode("node3")]
    assert not any(isinstance(step, StartNode) for step in steps[3:])


@pytest.mark.parametrize("nodes", [2, 3, 5])
def test_the_others_subscribe_to_the_newcomer_before_it_subscribes_to_them(nodes):
    # a newcomer that holds rows already would be copied by everybody
    steps = plan(wanted(nodes, ONE), absent(wanted(nodes, ONE)))
    for k in range(2, nodes + 1):
        newcomer = f"node{k}"
        peers = [f"node{n}" for n in range(1, k)]
        mine = [step for step in steps if isinstance(step, Subscribe) and newcomer in (step.source, step.target)
                and not any(f"node{n}" in (step.source, step.target) for n in range(k + 1, nodes + 1))]
        assert mine == [Subscribe(peer, newcomer) for peer in peers] + [Subscribe(newcomer, peer) for peer in peers]


def test_a_node_opens_and_joins_after_its_links_stream():
    steps = plan(wanted(3, ONE), absent(wanted(3, ONE)))
    assert steps[-4:] == [Subscribe("node3", "node2"), AwaitLinks("node3", ("node1", "node2")), OpenTable("node3", ONE), AdmitNode("node3")]


def test_a_healthy_cluster_needs_nothing():
    assert plan(wanted(3, ONE), wanted(3, ONE)) == []


def test_a_plan_reads_as_sentences():
    assert [str(step) for step in plan(wanted(2, ONE), absent(wanted(2, ONE)))] == [
        "start node1", "start node2",
        "wait until node1 accepts connections", "prepare node1: roles and database", "set up public.table1 on node1", "publish the tables of node1",
        "open public.table1 on node1", "admit node1",
        "wait until node2 accepts connections", "prepare node2: roles and database", "set up public.table1 on node2", "publish the tables of node2",
        "subscribe node1 to node2", "subscribe node2 to node1", "wait until the links of node2 stream", "open public.table1 on node2", "admit node2"]


# --- interrupted ---


@pytest.mark.parametrize("nodes", SIZES)
def test_the_plan_from_every_interrupted_step_leads_to_the_desired_state(nodes):
    desired = wanted(nodes, ONE)
    reached = absent(desired)
    for step in plan(desired, reached):
        reached = step.after(reached)
        state = reached
        for _ in range(ROUNDS):
            if state == desired:
                break
            for rest in plan(desired, state):
                state = rest.after(state)
        assert state == desired


@pytest.mark.parametrize("nodes", [1, 2, 3, 5])
def test_it_continues_from_every_interrupted_step(nodes):
    desired = wanted(nodes, ONE, TWO)
    whole = len(plan(desired, absent(desired)))
    for length in range(whole + 1):
        world = World(absent(desired))
        assert len(bring_up(world, desired, interrupt_after=length)) == length
        bring_up(world, desired)
        assert_done(world, desired)


@pytest.mark.parametrize("nodes", [2, 3])
def test_it_continues_when_interrupted_a_second_time(nodes):
    desired = wanted(nodes, ONE)
    whole = len(plan(desired, absent(desired)))
    for first in range(whole + 1):
        once = World(absent(desired))
        bring_up(once, desired, interrupt_after=first)
        for second in range(len(bring_up(copy.deepcopy(once), desired)) + 1):
            world = copy.deepcopy(once)
            bring_up(world, desired, interrupt_after=second)
            bring_up(world, desired)
            assert_done(world, desired)


@pytest.mark.parametrize("nodes", [2, 3])
def test_it_continues_after_an_interruption_and_a_stop_of_all_nodes(nodes):
    desired = wanted(nodes, ONE)
    for length in range(len(plan(desired, absent(desired))) + 1):
        world = World(absent(desired))
        bring_up(world, desired, interrupt_after=length)
        stop(world, *[node.name for node in desired.nodes])
        bring_up(world, desired)
        assert_done(world, desired)


def stop(world: World, *names: str) -> None:
    for name in names:
        if world.nodes[name].process != "absent":
            world.nodes[name] = replace(world.nodes[name], process="stopped", problem=None)


def test_a_stopped_node_is_started_and_looked_at_before_anything_else_is_planned():
    desired = wanted(3, ONE)
    world = up(desired)
    stop(world, "node2")
    assert plan(desired, world.look()) == [StartNode("node2"), AwaitNode("node2")]
    assert bring_up(world, desired) == [StartNode("node2"), AwaitNode("node2")]
    assert_done(world, desired)


def test_a_node_that_does_not_answer_is_waited_for():
    desired = wanted(2, ONE)
    world = up(desired)
    world.nodes["node2"] = replace(world.nodes["node2"], problem="PostgreSQL ended unexpectedly")
    assert bring_up(world, desired) == [AwaitNode("node2")]
    assert_done(world, desired)


@pytest.mark.parametrize("state", [Link.DISABLED, Link.SLOT_LOST])
def test_a_link_between_members_that_only_a_subscription_mends(state):
    desired = wanted(2, ONE)
    assert plan(desired, desired.with_link(LinkState("node1", "node2", Link(state)))) == [Subscribe("node2", "node1"), AwaitLinks("node2", ("node1",))]


@pytest.mark.parametrize("state", [state for state in MENDED_BY_WAITING if state != "streaming"])
def test_a_link_between_members_that_waiting_mends(state):
    desired = wanted(2, ONE)
    assert plan(desired, desired.with_link(LinkState("node1", "node2", Link(state)))) == [AwaitLinks("node2", ("node1",))]


def test_a_fault_of_the_merge_is_mended_by_setting_the_table_up_again():
    desired = wanted(2, ONE)
    faulty = desired.with_node(replace(desired.nodes[0], tables=(replace(ONE, fault="triggers are missing"),)))
    assert plan(desired, faulty)[0] == SetUpTable("node1", ONE)


# --- a configuration that changed ---


def test_nothing_is_done_to_a_node_with_an_old_copy_of_its_data():
    """And what the others need is done without it."""
    state = wanted(3, ONE)
    state = state.with_node(replace(state.node("node2"), stale="node1 has more of it", serving=False))
    state = state.with_link(LinkState("node1", "node2", Link.DISABLED)).with_link(LinkState("node1", "node3", Link.SLOT_LOST))
    assert plan(wanted(3, ONE), state) == [Subscribe("node3", "node1"), AwaitLinks("node3", ("node1",))]


def test_a_node_too_many_is_refused():
    with pytest.raises(OrchestratorError) as refused:
        plan(wanted(2, ONE), wanted(3, ONE))
    assert "3 nodes" in refused.value.message and "node3" in refused.value.detail and "max_nodes" in refused.value.hint


def test_other_columns_are_refused():
    with pytest.raises(OrchestratorError) as refused:
        plan(wanted(2, table("table1", "id uuid")), wanted(2, ONE))
    assert "public.table1" in refused.value.message and "node1" in refused.value.message


def test_other_columns_are_seen_on_a_node_that_was_stopped():
    world = up(wanted(2, ONE))
    stop(world, "node2")
    world.nodes["node2"] = replace(world.nodes["node2"], tables=(table("table1", "id uuid"),))
    with pytest.raises(OrchestratorError, match="other columns"):
        bring_up(world, wanted(2, ONE))


@pytest.mark.parametrize("nodes", [1, 2, 3, 5])
def test_a_new_table_reaches_a_running_cluster(nodes):
    world = up(wanted(nodes, ONE))
    bring_up(world, wanted(nodes, ONE, TWO))
    assert_done(world, wanted(nodes, ONE, TWO))


@pytest.mark.parametrize("nodes", [2, 3, 5])
def test_a_new_table_is_open_on_no_node_before_every_link_carries_it(nodes):
    world = up(wanted(nodes, ONE))
    desired = wanted(nodes, ONE, TWO)
    for step in plan(desired, world.look()):
        if isinstance(step, OpenTable):
            assert all("public.table2" in link.carries for link in world.links.values())
        world.run(step)
        world.look(hidden=False).check_invariants()
    assert world.look() == desired


@pytest.mark.parametrize("nodes", [2, 3])
def test_a_new_table_is_added_from_every_interrupted_step(nodes):
    desired = wanted(nodes, ONE, TWO)
    length = 0
    while True:
        world = up(wanted(nodes, ONE))
        if len(bring_up(world, desired, interrupt_after=length)) < length:
            break
        bring_up(world, desired)
        assert_done(world, desired)
        length += 1
    assert length > 3 * nodes


def test_a_new_table_comes_while_a_node_is_joining():
    before, desired = wanted(2, ONE), wanted(2, ONE, TWO)
    for length in range(len(plan(before, absent(before))) + 1):
        world = World(absent(before))
        bring_up(world, before, interrupt_after=length)
        bring_up(world, desired)
        assert_done(world, desired)


def test_a_new_node_and_a_new_table_at_once():
    world = up(wanted(2, ONE))
    newcomer = absent(wanted(3, ONE)).nodes[2]
    world.nodes["node3"], world.rows["node3"] = newcomer, {}
    bring_up(world, wanted(3, ONE, TWO))
    assert_done(world, wanted(3, ONE, TWO))


def test_a_cluster_without_tables_comes_up():
    desired = wanted(2)
    world = World(absent(desired))
    bring_up(world, desired)
    assert_done(world, desired)


# --- any state ---

OTHER = "its database was prepared by another version"
TABLES = st.tuples(*[st.one_of(st.none(), st.builds(
    replace, st.just(each), published=st.booleans(), open=st.booleans(), fault=st.sampled_from([None, "triggers are missing"]))) for each in (ONE, TWO)])
LINKS = st.sampled_from(["missing", "unseeded", "incomplete", "disabled", "slot lost", *MENDED_BY_WAITING])


@st.composite
def any_state(draw) -> ClusterState:
    nodes = []
    for k in range(1, draw(st.integers(1, 4)) + 1):
        process = draw(st.sampled_from(["running"] * 3 + ["absent", "stopped"]))
        tables = tuple(each for each in draw(TABLES) if each) if process != "absent" else ()
        prepared = bool(tables) or process != "absent" and draw(st.booleans())
        nodes.append(NodeState(
            f"node{k}", k, process, draw(st.sampled_from([None, None, "PostgreSQL starts"])) if process == "running" else None, prepared,
            serving=prepared and draw(st.booleans()), roles=draw(st.sampled_from([ROLES, ROLES[1:], ()])) if prepared else (), tables=tables,
            current=process != "running" or draw(st.booleans()), fault=draw(st.sampled_from([None, None, OTHER])) if prepared else None))
    state = ClusterState("test", tuple(nodes), frozenset())
    for source in nodes:
        for target in nodes:
            if source is not target:
                # a subscription lives on the target, its slot on the source
                lost = draw(LINKS) if target.tables else "missing"
                state = state.with_link(LinkState(source.name, target.name, Link.SLOT_LOST if lost != "missing" and source.process == "absent" else Link(lost)))
    return state


@settings(max_examples=800, deadline=None)
@given(any_state())
def test_from_any_state_it_is_done_and_breaks_nothing(state):
    desired = wanted(len(state.nodes), ONE, TWO)
    world = World(state)
    held = safe(world)
    taken = bring_up(world, desired)
    note("\n".join(str(step) for step in taken))
    assert world.look() == desired
    if held:
        assert_done(world, desired)


@settings(max_examples=300, deadline=None)
@given(any_state(), st.data())
def test_from_any_state_and_interrupted(state, data):
    desired = wanted(len(state.nodes), ONE, TWO)
    world = World(state)
    held = safe(world)
    bring_up(world, desired, interrupt_after=data.draw(st.integers(0, 30)))
    stop(world, *data.draw(st.sets(st.sampled_from(list(world.nodes)))))
    bring_up(world, desired)
    assert world.look() == desired
    if held:
        assert_done(world, desired)


# --- one node ---


def of(step: Step) -> set[str]:
    """Name the nodes that the step is about."""
    return {step.source, step.target} if isinstance(step, Subscribe) else {step.node}


@pytest.mark.parametrize("name", ["node1", "node2", "node3"])
def test_one_node_is_started_and_its_links_are_mended_and_nothing_else_is(name):
    desired = wanted(3, ONE)
    world = up(desired)
    stop(world, "node1", "node2", "node3")
    assert bring_up(world, desired, only=name) == [StartNode(name), AwaitNode(name)]
    others = [node.name for node in desired.nodes if node.name != name]
    assert [world.nodes[other].process for other in others] == ["stopped", "stopped"]
    bring_up(world, desired)
    state = world.look().with_link(LinkState(*others, Link.DISABLED)).with_link(LinkState(name, others[0], Link.DISABLED))
    assert plan(*narrow(desired, state, name)) == [Subscribe(others[0], name), AwaitLinks(name, tuple(others))]


def test_a_new_table_does_not_come_with_one_node():
    world = up(wanted(2, ONE))
    assert bring_up(world, wanted(2, ONE, TWO), only="node1") == []
    bring_up(world, wanted(2, ONE, TWO))
    assert_done(world, wanted(2, ONE, TWO))


def test_a_node_joins_alone_when_all_members_can_be_asked():
    desired = wanted(3, ONE)
    world = World(absent(desired))
    bring_up(world, wanted(3, ONE), only="node1")
    bring_up(world, wanted(3, ONE), only="node2")
    stop(world, "node1")
    with pytest.raises(OrchestratorError, match="node3 has not joined") as refused:
        bring_up(world, desired, only="node3")
    assert refused.value.detail == "node1 is stopped"
    bring_up(world, desired, only="node1")
    bring_up(world, desired, only="node3")
    assert_done(world, desired)


def test_a_node_does_not_join_without_a_member_that_is_not_configured_now():
    """It would serve without a link to that member: rows of each would never reach the other."""
    before, desired = wanted(3, ONE), wanted(4, ONE)
    world = up(before)
    world.nodes["node4"], world.rows["node4"] = absent(desired).nodes[3], {}
    with pytest.raises(OrchestratorError, match="node4 has not joined") as refused:
        bring_up(world, without(desired, "node3"), only="node4")
    assert refused.value.detail == "node3 is not configured"
    bring_up(world, desired)
    assert_done(world, desired)


@pytest.mark.parametrize("away", ["stopped", "drifted", "surplus"])
def test_a_new_table_does_not_come_with_the_only_node_that_is_well(away):
    world, desired = up(wanted(2, ONE)), wanted(2, ONE, TWO)
    if away == "stopped":
        stop(world, "node2")
    elif away == "drifted":
        world.nodes["node2"] = replace(world.nodes["node2"], fault=OTHER)
    assert bring_up(world, without(desired, "node2") if away == "surplus" else desired, only="node1") == []
    bring_up(world, desired)
    assert_done(world, desired)


def without(desired: ClusterState, *names: str) -> ClusterState:
    """Return the configuration without these nodes; what is there of them is surplus."""
    return ClusterState(desired.id, tuple(node for node in desired.nodes if node.name not in names),
                        frozenset(link for link in desired.links if not {link.source, link.target} & set(names)))


@settings(max_examples=400, deadline=None)
@given(any_state(), st.data())
def test_from_any_state_one_node_is_brought_up_and_no_other_is_touched(state, data):
    desired = wanted(len(state.nodes), ONE, TWO)
    world = World(state)
    held, only = safe(world), data.draw(st.sampled_from([node.name for node in state.nodes]))
    surplus = data.draw(st.sets(st.sampled_from([node.name for node in state.nodes])))
    try:
        taken = bring_up(world, without(desired, *surplus - {only}), data.draw(st.one_of(st.none(), st.integers(0, 10))), only)
    except OrchestratorError as error:
        assert "has not joined" in error.message
        taken = []
    except Stuck as away:
        # a member of the new version waits for its peers
        note(str(away))
        taken = []
    assert all(only in of(step) for step in taken)
    bring_up(world, desired)
    assert world.look() == desired
    if held:
        assert_done(world, desired)


# --- other versions ---


@pytest.mark.parametrize("nodes", SIZES)
def test_outdated_nodes_are_made_anew_one_after_another(nodes):
    desired = wanted(nodes, ONE)
    world = up(desired)
    for name, node in world.nodes.items():
        world.nodes[name] = replace(node, current=False)
    steps = bring_up(world, desired)
    assert_done(world, desired)
    assert [step.node for step in steps if isinstance(step, ReplaceNode)] == [node.name for node in desired.nodes]
    for before, step in zip(steps, steps[1:], strict=False):
        assert not isinstance(step, ReplaceNode) or isinstance(before, AwaitLinks), "the one before has not caught up"


@pytest.mark.parametrize("nodes", SIZES)
def test_a_node_of_another_version_is_prepared_by_the_new_agent_before_anything_is_asked_of_it(nodes):
    desired = wanted(nodes, ONE)
    world = up(desired)
    for name, node in world.nodes.items():
        world.nodes[name] = replace(node, current=False, fault=OTHER)
    steps = bring_up(world, desired)
    assert_done(world, desired)
    for node in desired.nodes:
        first = [type(step) for step in steps if getattr(step, "node", None) == node.name][:3]
        assert first == [ReplaceNode, AwaitNode, PrepareNode]


def test_a_database_of_another_version_is_prepared_again_though_its_agent_is_ours():
    desired = wanted(2, ONE)
    world = up(desired)
    world.nodes["node2"] = replace(world.nodes["node2"], fault=OTHER)
    assert world.look().node("node2").state == "faulty"
    assert bring_up(world, desired) == [PrepareNode("node2", ROLES)]
    assert_done(world, desired)


def test_a_new_link_is_not_expected_to_stream_at_once():
    assert Subscribe("node2", "node1").after(absent(wanted(2, ONE))).link("node1", "node2").state == "starting"


def test_publish_is_planned_once_for_all_tables():
    steps = plan(wanted(1, ONE, TWO), absent(wanted(1, ONE, TWO)))
    assert [step for step in steps if isinstance(step, Publish)] == [Publish("node1")]
