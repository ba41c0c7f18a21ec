"""The command line: one thin file a command, which parses, calls and prints.

Nothing is computed here, and only the module of the command that was typed is imported.
"""

from harness.cli.command_line import COMMANDS, main

__all__ = ["COMMANDS", "main"]
