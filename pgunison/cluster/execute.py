"""Execute plans: look, plan, do, and look again until nothing is left to do."""

from pgunison.cluster.desired import desired
from pgunison.cluster.plan import narrow, plan
from pgunison.cluster.removal import require_ended
from pgunison.cluster.site import Site
from pgunison.cluster.state import ClusterState
from pgunison.errors import OrchestratorError, UsageError
from pgunison.progress import Progress

ROUNDS = 8


def bring_up(site: Site, progress: Progress, only: str | None = None) -> ClusterState:
    """Bring the cluster to what its configuration asks for, or with ``only`` that node and its links, and leave the others alone; returns its state.

    Raises what the first failing step raises; everything before it stays, and a later call continues.
    """
    configured = desired(site.configuration)
    for number in range(ROUNDS):
        actual = site.observe()
        require_ended(site, actual)
        # pools open from it, also when this command is interrupted
        site.endpoints().write(site.directory)
        if number == 0:
            refuse_settings(site, actual)
        wanted, seen = (configured, actual) if only is None else narrow(configured, actual, only)
        steps = plan(wanted, seen)
        if not steps:
            seen.check_invariants()
            require_current(site, seen)
            return actual
        for step in steps:
            with progress.step(str(step)):
                step.run(site)
    left = "; ".join(str(step) for step in steps[:5])
    raise OrchestratorError(f"the cluster is not what was asked for after {ROUNDS} rounds", f"still to do: {left}", "python3 orchestrator.py status")


def refuse(site: Site, only: str) -> None:
    """Raise what :func:`bring_up` of that node would refuse, for whoever is about to stop it."""
    actual = site.observe()
    refuse_settings(site, actual)
    plan(*narrow(desired(site.configuration), actual, only))


def refuse_settings(site: Site, actual: ClusterState) -> None:
    """UsageError in PostgreSQL's own words when it would not start with the configured settings: before any server that runs is stopped for them."""
    for node in actual.nodes if site.configuration.settings else ():
        if not node.answers:
            continue
        if (refused := site.agents.refused_settings(site.any_spec(node.name))) is not None:
            raise UsageError("PostgreSQL refuses the settings of the configuration", f"$.system.config.postgresql: {refused}",
                             "correct them; nothing was stopped, no file was changed")
        # the nodes have the same PostgreSQL, or will have
        return


def require_current(site: Site, cluster: ClusterState) -> None:
    """OrchestratorError with the way out when a node holds an old copy of its data."""
    stale = [node for node in cluster.nodes if node.stale]
    if stale:
        names = ", ".join(node.name for node in stale)
        raise OrchestratorError(f"{names} does not serve: an old copy of its data was put back", "; ".join(f"{node.name}: {node.stale}" for node in stale),
                                f"{site.runtime.how_to_empty(site.any_spec(stale[0].name))}; then up fills it from its peers. Rows that only it has"
                                " are lost with its data: save them first (docs/operations.md, An old copy of a disk)")
