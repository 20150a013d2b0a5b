"""The commands of the command line, a file each: a function that does it, and ``command``, which says how it is called.

The command line imports a file when its command is called (:mod:`pgunison.cli`); so a file imports only what its command always needs.
"""
