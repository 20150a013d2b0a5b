"""Where a node lives: the agent, which keeps the node's PostgreSQL and answers JSON-RPC."""
