"""Execute plans: look, plan, do, and look again until nothing is left to do."""

from host.desired import desired
from host.errors import OrchestratorError
from host.plan import plan
from host.progress import Progress
from host.site import Site
from host.state import ClusterState

ROUNDS = 8


def bring_up(site: Site, progress: Progress) -> ClusterState:
    """Bring the cluster to what its configuration asks for; returns its state.

    Raises what the first failing step raises; everything before it stays, and a later call continues.
    """
    wanted = desired(site.configuration)
    for _ in range(ROUNDS):
        actual = site.observe()
        steps = plan(wanted, actual)
        if not steps:
            actual.check_invariants()
            return actual
        for step in steps:
            with progress.step(str(step)):
                step.run(site)
    left = "; ".join(str(step) for step in plan(wanted, site.observe())[:5])
    raise OrchestratorError(f"the cluster is not what was asked for after {ROUNDS} rounds", f"still to do: {left}", "python3 orchestrator.py status")
