"""The form of a call; what may stand in one says the definition of its service (esb_config/), and the node checks it."""

from typing import Any


def call_document(service_id: str, **root: Any) -> dict[str, Any]:
    """Make the call document of a service: ``call_document("node.describe", Cluster={"id": ..., "Node": {...}})``."""
    return {"SYSServiceID": service_id, "data": [root]}


def request(call: dict[str, Any], request_id: int | str = 1) -> dict[str, Any]:
    """Wrap a call document as the JSON-RPC 2.0 request that an agent takes at ``POST /``."""
    return {"jsonrpc": "2.0", "method": "esb.execute", "params": call, "id": request_id}
