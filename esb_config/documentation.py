"""docs/services.md, written from the definitions: ``python3 -m esb_config.documentation > docs/services.md``."""

import json
from collections.abc import Iterator
from typing import Any

from esb_config.definition import ClassNode, Service, services

INTRODUCTION = """\
# The services of a node

*Written by `make docs` from `esb_config/`; a test compares the two.*

A node's agent answers JSON-RPC 2.0 at `POST /`. Its one method is `esb.execute`; the params are a call document, which names a service and says in one
tree what it is for. Any program may call; in Python `pgunison.contract.call` makes the document and the request, and imports neither the orchestrator nor
a database driver:

```python
import httpx

from pgunison.contract.call import call_document, request

TOKEN_FILE = "/var/lib/pgunison/lb-test/secrets/agent-token"  # or below ~/.local/state, or $PGUNISON_STATE
AGENT = "http://127.28.64.2:64000/"

node = {"name": "node1", "index": 1, "database": "lb-test"}
call = call_document("node.describe", Cluster={"id": "lb-test", "Node": node})
with open(TOKEN_FILE) as file:
    headers = {"Authorization": f"Bearer {file.read().strip()}"}
answer = httpx.post(AGENT, json=request(call), headers=headers, timeout=60, trust_env=False).json()
if "error" in answer:
    raise SystemExit("{message}: {data}".format(**answer["error"]))
print(answer["result"])
```

The agent checks the document. With the sources at hand `esb_config.document.document` makes and checks it before it is sent: it raises
`esb_config.errors.CallError` (message, detail with the JSON path of each fault, hint). A call has one item in `data`; keys that begin with `SYS` are only
the one at the top.

**What comes back.** `result` holds `changed` (true or false), `done` (a sentence for each thing that this call did) and what the service was asked for. Every
service can be repeated: a second call of one that changes something finds it done, and answers `"changed": false`.

**What can go wrong.** `error` holds `code`, `message` and `data`, which for every error of a service is `{"detail": ..., "hint": ...}`.

| answer | meaning |
|---|---|
| HTTP 401 | no `Authorization: Bearer ...`, or a wrong token |
| HTTP 405 | not a `POST` |
| HTTP 413 | the body has more than 256 KiB |
| HTTP 204, no body | a notification: a request without `id` |
| -32700 | the body is not JSON |
| -32600 | not a JSON-RPC request, not UTF-8, or a batch: one request at a time |
| -32601 | the method is not `esb.execute` |
| -32602 | the call is not what the service takes; nothing was done |
| -32000 | the service refused or failed: message, detail and hint say why |

`GET /ready` answers 200 when the node may serve, else 503 with the reason; `?max_lag_s=5` asks for more;
`GET /health` answers 200 while the agent lives. Neither asks for the token.
"""


def text() -> str:
    """Write the whole document."""
    return "\n".join([INTRODUCTION, *(section(service) for service in services().values())])


def section(service: Service) -> str:
    """Write what one service does and takes, with an example."""
    example = json.dumps(service.example(), indent=2, ensure_ascii=False)
    return "\n".join([
        f"## {service.id}", "", service.description, "", "Changes the node." if service.changes else "Changes nothing.", "",
        "| | takes | required | default | |", "|---|---|---|---|---|", *rows(service.root, service.root.name), "", "```json", example, "```", ""])


def rows(node: ClassNode, path: str) -> Iterator[str]:
    """Write a table row for the class, one for each of its properties, then those of its children."""
    takes = "an object" if not node.many else "a list of objects: all of the default's" if node.complete else "a list of objects"
    default = f"{len(node.default)} objects" if node.default else "`[]`" if node.many else ""
    yield _row(f"**{path}**", takes, node.required, default if not node.required else "", node.description)
    for each in node.properties:
        default = "" if each.required else f"`{json.dumps(each.default)}`"
        yield _row(f"{path}.{each.name}", expected(each.schema), each.required, default, each.schema.get("description", ""))
    for child in node.children:
        yield from rows(child, f"{path}.{child.name}{'[]' if child.many else ''}")


def expected(schema: dict[str, Any]) -> str:
    """Say in words what a JSON Schema of our definitions takes."""
    match schema:
        case {"anyOf": choices}:
            return " or ".join(expected(choice) for choice in choices)
        case {"enum": choices}:
            return "one of " + ", ".join(f"`{choice}`" for choice in choices)
        case {"type": list(types)}:
            return ", ".join(types)
        case {"type": "object", "properties": properties}:
            return "{" + ", ".join(f'"{name}": {expected(value)}' for name, value in properties.items()) + "}"
        case {"type": "array", "items": items, "maxItems": most}:
            return f"a list of {expected(items)}, {most} at most"
        case {"type": "string", "format": "identifier"}:
            return "a name of 1 to 63 bytes, printable"
        case {"type": "string", "format": "line", "minLength": least, "maxLength": most}:
            return f"a line of {least} to {most} characters"
        case {"type": "string", "pattern": pattern}:
            return f"string like `{pattern}`"
        case {"type": "string", "minLength": least, "maxLength": most}:
            return f"string of {least} to {most} characters"
        case {"type": "integer", "minimum": least, "maximum": most}:
            return f"integer from {least} to {most}"
        case {"type": "integer", "minimum": least}:
            return f"integer from {least}"
    return str(schema["type"])


def _row(path: str, takes: str, required: bool, default: str, description: str) -> str:
    cells = [path, takes, "yes" if required else "", default, description]
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


if __name__ == "__main__":
    print(text(), end="")
