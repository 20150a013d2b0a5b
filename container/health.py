"""Whether the node is well, for the image's HEALTHCHECK: ``python3 -m container.health CONFIGURATION.json``."""

import http.client
import json
import ssl
import sys
from pathlib import Path
from typing import Any

TIMEOUT_S = 4.0


def main() -> int:
    """Ask the agent of this container; returns the exit status, and prints the problem on one line when there is one."""
    try:
        problem = ask(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    except Exception as error:
        problem = f"the agent does not answer: {type(error).__name__}: {error}"
    if problem is None:
        return 0
    print(" ".join(problem.split()))
    return 1


def ask(configuration: dict[str, Any]) -> str | None:
    """Return what the agent says is wrong with its node, None when nothing is."""
    address = "127.0.0.1" if configuration["address"] == "0.0.0.0" else configuration["address"]
    connection: http.client.HTTPConnection
    if configuration.get("tls"):
        context = ssl.create_default_context(cafile=Path(configuration["tls"]) / "ca.pem")
        # the certificate carries the node's name and address, and we ask by loopback
        context.check_hostname = False
        connection = http.client.HTTPSConnection(address, configuration["agent_port"], timeout=TIMEOUT_S, context=context)
    else:
        connection = http.client.HTTPConnection(address, configuration["agent_port"], timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    return json.loads(content)["problem"] if answer.status == 200 else f"the agent answers with status {answer.status}"


if __name__ == "__main__":
    sys.exit(main())
