"""Pools of connections to the nodes of a cluster: health, lag, read-your-writes, and the truth about a COMMIT whose answer was lost."""
