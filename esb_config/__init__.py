"""What may be asked of a node: service definitions in YAML, their loader, the checked call.

microesb is told by the environment variable ``esbconfig`` that this package is its configuration; it reads ``config`` and
``import_classes`` from here when it is imported, which only the node's side does. A program that only makes calls needs
:mod:`esb_config.definition` and :mod:`esb_config.document`, and neither microesb nor a database driver.
"""

# At its DEBUG level microesb logs every property, passwords too.
config = {"logging_enabled": False}

import_classes = {
    "services.cluster": ["Cluster"],
    "services.node": ["Node"],
    "services.role": ["Role"],
    "services.entry": ["Entry"],
    "services.table": ["Table"],
    "services.column": ["Column"],
    "services.sequence": ["Sequence"],
    "services.trigger": ["Trigger"],
    "services.publication": ["Publication"],
    "services.subscription": ["Subscription"],
}
