"""Renewal: new certificates while the cluster runs, each seen at work before the next."""

from collections.abc import Callable
from functools import partial

from pgunison.agents import Agents
from pgunison.certificates import Certificates, shown
from pgunison.cluster.site import Site
from pgunison.configuration.sysconfig import NodeSpec
from pgunison.contract.waiting import Late, wait_until
from pgunison.errors import OrchestratorError, UsageError
from pgunison.progress import Progress
from pgunison.runtime.runtime import Process

TIMEOUT_S = 60.0


def renew(site: Site, progress: Progress, *, authority: bool) -> None:
    """Make new certificates for every node and the orchestrator, or with ``authority`` a new authority, which signs the next ones.

    First every node learns to trust the authority that signs, then it gets a certificate of it, so that nobody meets one that he does not trust.
    Connections that stand are not touched. It can be interrupted and called again. UsageError where there are no certificates.
    """
    certificates = site.runtime.certificates
    if certificates is None:
        raise UsageError("there are no certificates to renew", "nodes that are processes of one machine speak no TLS", "leave it")
    if authority:
        with progress.step("make a new authority"):
            certificates.renew_authority()
    certificates.renew_client()
    nodes = [node for node in site.configuration.nodes if site.runtime.state(node) == Process.RUNNING]
    for node in nodes:
        with progress.step(f"let {node.name} trust it"):
            site.runtime.put_certificates(node)
            _await(node, partial(_refused, site, certificates, node))
    for node in nodes if not authority else []:
        with progress.step(f"renew the certificate of {node.name}"):
            certificates.renew_node(node)
            site.runtime.put_certificates(node)
            _await(node, partial(_old, site, certificates, node))
    stopped = [node.name for node in site.configuration.nodes if node not in nodes]
    for name in stopped:
        progress.say(f"{name} does not run: it gets what it needs when it is started")


def _refused(site: Site, certificates: Certificates, node: NodeSpec) -> str | None:
    """Say why the node does not take our newest certificate, None when it does."""
    agents = Agents(site.configuration, site.credentials.token, site.runtime.address, certificates.trust())
    try:
        agents.call(node, "node.position", 10.0)
    except OrchestratorError as error:
        return f"{error.message}: {error.detail}"
    finally:
        agents.close()
    return None


def _old(site: Site, certificates: Certificates, node: NodeSpec) -> str | None:
    """Say which port of the node does not show its newest certificate yet, None when both do."""
    trust, serial, address = certificates.trust(), certificates.serial(node), site.runtime.address(node)
    for port, postgresql in ((site.configuration.agent_port, False), (site.configuration.postgresql_port, True)):
        try:
            found = shown(trust, address, port, postgresql=postgresql)
        except OSError as error:
            return f"port {port}: {error}"
        if found.serial != serial:
            return f"port {port} shows the one before, which ends on {found.ends:%Y-%m-%d}"
    return None


def _await(node: NodeSpec, pending: Callable[[], str | None]) -> None:
    try:
        wait_until(pending, f"{node.name} shows its new certificate", TIMEOUT_S, pause_s=0.1)
    except Late as late:
        raise OrchestratorError(f"{node.name} does not take its new certificate", late.last, f"python3 orchestrator.py logs {node.name}") from late
