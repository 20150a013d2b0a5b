"""What both sides agree on: the host (pgunison) and the node (container, esb_config, services). Imports nothing else of ours.

It stands below pgunison, and not beside it, so that ``import pgunison.pool`` takes no name of a program's own at the top (docs/decisions/0023-one-name.md).
A node's image carries this part of pgunison and no other.
"""
