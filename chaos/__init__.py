"""Chaos: random writes under random faults against a cluster of its own; when the faults end, every node must hold the same rows."""
