"""The installed program ``pgunison``, and ``python3 -m pgunison``: the configuration is the sysconfig.json of the directory where it is called."""

import sys

from pgunison.interruption import end_at_once


def main() -> int:
    """Run the command line; returns the exit status."""
    end_at_once()
    from pgunison.cli import main
    return main()


if __name__ == "__main__":
    sys.exit(main())
