"""What a node does when asked: one microesb class a file, SQL beside them.

microesb reads its configuration when it is imported and then imports the classes that it names, from this very package. Importing it
here, before any of them, makes every order of imports work.
"""

import os

os.environ.setdefault("esbconfig", "esb_config")

from microesb import microesb  # noqa: E402

__all__ = ["microesb"]
