"""What a node does when asked: one microesb class a file, SQL beside them.

microesb reads its configuration when it is imported and then imports the classes that it names, from this very package. Importing it
here, before any of them, makes every order of imports work.
"""

import logging
import os

# at DEBUG microesb logs every property of a call, passwords too
logging.getLogger("microesb").setLevel(logging.WARNING)
os.environ.setdefault("esbconfig", "esb_config")

from microesb import microesb  # noqa: E402

__all__ = ["microesb"]
