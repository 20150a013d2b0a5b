"""The agents, as the host sees them: JSON-RPC 2.0 over HTTP, one client for all nodes."""

import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx

from pgunison.configuration.sysconfig import Configuration, NodeSpec
from pgunison.contract.call import call_document, request
from pgunison.errors import OrchestratorError

if TYPE_CHECKING:
    from pgunison.certificates import Shown

CALL_TIMEOUT_S = 900.0
FAILED_STARTS = 3
# A question to the node, not work. The agent gives up before (services/server.py), so that it is the one that says why.
QUESTION_TIMEOUT_S = 10.0
# so long may an agent take to find that its port is taken
AGENT_START_S = 15.0


class AgentUnreachable(OrchestratorError):
    """No agent answers at the node's address."""


class Agents:
    """Call services on nodes. ``address`` says where a node is reached; ``tls`` is what we trust and show, None where nothing leaves the machine."""

    def __init__(self, configuration: Configuration, token: str, address: Callable[[NodeSpec], str], tls: ssl.SSLContext | None = None):
        self._configuration = configuration
        self._address = address
        self._tls = tls
        # plain HTTP on loopback: there are no certificates to load
        self._client = httpx.Client(headers={"Authorization": f"Bearer {token}"}, trust_env=False, verify=tls or False,
                                    timeout=httpx.Timeout(CALL_TIMEOUT_S, connect=5.0),
                                    limits=httpx.Limits(max_connections=None))

    def close(self) -> None:
        """Close the connections to the agents."""
        self._client.close()

    def call(self, node: NodeSpec, service_id: str, timeout_s: float | None = None, **children: Any) -> dict[str, Any]:
        """Call a service on a node, with ``children`` below its Node; returns what the service answers within ``timeout_s``, 15 minutes by default.

        Raises AgentUnreachable when nobody answers, OrchestratorError with the service's own message, detail and hint when it fails.
        """
        configuration = self._configuration
        where = {"name": node.name, "index": node.index, "database": configuration.database}
        call = call_document(service_id, Cluster={"id": configuration.id, "Node": where | children})
        answer = self._post(node, request(call), timeout_s or CALL_TIMEOUT_S)
        result = answer.get("result") if isinstance(answer, dict) else None
        if isinstance(result, dict):
            return result
        failure = answer.get("error") if isinstance(answer, dict) else None
        if not isinstance(failure, dict) or "message" not in failure:
            raise self._foreign(node)
        said = failure.get("data")
        data = said if isinstance(said, dict) else {"detail": str(said or "")}
        raise OrchestratorError(f"{node.name}: {failure['message']}", data.get("detail", ""), data.get("hint", ""))

    def problem(self, node: NodeSpec) -> str | None:
        """Ask the agent why its PostgreSQL accepts no connections; None when it does.

        Raises AgentUnreachable when no agent answers, OrchestratorError when the one that answers is of another node.
        """
        problem: str | None = self.health(node)["problem"]
        return problem

    def health(self, node: NodeSpec, timeout_s: float = 10.0) -> dict[str, Any]:
        """Return what the agent says of its node: ``problem`` (why its PostgreSQL accepts no connections, or None), ``failures``, ``warnings``, and
        ``unkept`` (why nobody should rely on it, though it accepts connections, or None).

        Raises as :meth:`problem` does.
        """
        try:
            found: dict[str, Any] = self._send("GET", f"{self._url(node)}health", timeout_s).json()
            who, _, _ = (found["cluster"], found["node"]), found["problem"], found["failures"]
        except httpx.HTTPError as error:
            raise self._unreachable(node, error) from error
        except (ValueError, KeyError, TypeError) as error:
            raise self._foreign(node) from error
        if who != (self._configuration.id, node.name):
            raise OrchestratorError(f"the agent at {self._url(node)} is not that of {node.name}", f"it keeps {who[1]} of cluster {who[0]}",
                                    "give the clusters different subnets in sysconfig.json, or stop the other")
        return found

    def refused_settings(self, node: NodeSpec) -> str | None:
        """Have the node's PostgreSQL check the configured settings; returns why it would not start with them, None when it would.

        It changes nothing. An agent of another version may not be able to, and refuses nothing. AgentUnreachable when no agent answers.
        """
        try:
            response = self._send("POST", f"{self._url(node)}settings", 60.0, json={"settings": self._configuration.settings})
            return response.json().get("refused") if response.status_code == 200 else None
        except httpx.HTTPError as error:
            raise self._unreachable(node, error) from error
        except (ValueError, AttributeError) as error:
            raise self._foreign(node) from error

    def certificate(self, node: NodeSpec) -> "Shown | None":
        """Return the certificate that the node's agent shows to a new connection; None where it speaks no TLS. AgentUnreachable when it shows none we trust."""
        if self._tls is None:
            return None
        # loaded late: what reads certificates takes its time, and plain HTTP has none
        from pgunison.certificates import shown
        try:
            return shown(self._tls, self._address(node), self._configuration.agent_port)
        except OSError as error:
            raise self._unreachable(node, error) from error

    def await_postgresql(self, node: NodeSpec, alive: Callable[[NodeSpec], None], timeout_s: float = 120.0) -> None:
        """Wait until the node's PostgreSQL accepts connections. ``alive`` raises when the agent's process has ended.

        OrchestratorError with what was last seen when it takes longer, or when the agent has tried in vain several times.
        """
        began, failures, before = time.monotonic(), 0, None
        while True:
            try:
                health = self.health(node)
                last, failures = health["problem"], health["failures"]
                # what failed before we came may have been mended since
                before = failures if before is None else before
                if last is None:
                    return
            except AgentUnreachable as error:
                alive(node)
                last = error.detail
            except OrchestratorError as error:
                # Somebody else has the port, for which our agent ends. Only then can whoever mends it call again.
                try:
                    alive(node)
                except OrchestratorError:
                    raise error from None
                if time.monotonic() > began + AGENT_START_S:
                    raise
                last = error.message
            if failures >= FAILED_STARTS and failures > (before or 0) or time.monotonic() > began + timeout_s:
                raise OrchestratorError(f"PostgreSQL of {node.name} does not start", last, f"python3 orchestrator.py logs {node.name}")
            time.sleep(0.05)

    def _send(self, method: str, url: str, timeout_s: float, **content: Any) -> httpx.Response:
        timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, 5.0))
        try:
            return self._client.request(method, url, timeout=timeout, **content)
        except httpx.RemoteProtocolError:
            # a connection that was kept from an earlier request, and that the agent closed just then; every service can be repeated
            return self._client.request(method, url, timeout=timeout, **content)

    def _post(self, node: NodeSpec, body: dict[str, Any], timeout_s: float) -> object:
        try:
            response = self._send("POST", self._url(node), timeout_s, json=body)
        except httpx.HTTPError as error:
            raise self._unreachable(node, error) from error
        if response.status_code == 401:
            raise OrchestratorError(f"the agent at {self._url(node)} refuses our token", "it belongs to another cluster of the same name, kept in"
                                    " another directory", "stop that one where it was started, or give this one another id and subnet")
        if response.status_code != 200:
            raise OrchestratorError(f"{node.name} answers HTTP {response.status_code}", response.text[:200], f"python3 orchestrator.py logs {node.name}")
        try:
            answer: object = response.json()
            return answer
        except ValueError as error:
            raise self._foreign(node) from error

    def _url(self, node: NodeSpec) -> str:
        return f"{'https' if self._tls else 'http'}://{self._address(node)}:{self._configuration.agent_port}/"

    def _foreign(self, node: NodeSpec) -> OrchestratorError:
        return OrchestratorError(f"a foreign program answers at {self._url(node)}", "it is no pgunison agent", "stop it, or choose another port")

    def _unreachable(self, node: NodeSpec, error: httpx.HTTPError | OSError) -> AgentUnreachable:
        return AgentUnreachable(f"no agent answers for {node.name}", f"{self._url(node)}: {error}", "python3 orchestrator.py up")
