"""The ``composer`` command: reserved first words are subcommands, all else is launched.

A script that bears a reserved name is launched by its path: ``composer ./env``. A subcommand is a
module with ``main(arguments) -> exit status``; it is imported when it is called for, and a
subcommand whose module is not installed is no reserved word.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from composer._version import __version__
from composer.errors import ComposerError, did_you_mean


class Subcommand(NamedTuple):
    """One reserved word: the module that runs it, and what it does in a few words."""

    module: str
    help: str


SUBCOMMANDS = {
    "ablate": Subcommand("composer.cli.ablate", "switch methods on and off and say what helped"),
    "env": Subcommand("composer.cli.env", "describe this machine and installation"),
    "track": Subcommand("composer.cli.track", "serve, list and export tracked runs"),
    "verify-resume": Subcommand("composer.cli.verify", "prove that a run resumes exactly"),
}
LAUNCHER = "composer.cli.launcher"


def available() -> dict[str, Subcommand]:
    """The subcommands whose module exists."""
    return {word: each for word, each in SUBCOMMANDS.items() if find_spec(each.module) is not None}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the words after ``composer``; those of the process if ``None``.

    Returns:
        The exit status: that of the subcommand or of the launched script.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    first = words[0] if words else "--help"
    if first in ("-h", "--help"):
        print(_overview())
        return import_module(LAUNCHER).main(["--help"])
    if first == "--version":
        print(f"composer {__version__}")
        return 0
    subcommands = available()
    if first in subcommands:
        return _run(subcommands[first], words[1:])
    hint = _misspelt(first, subcommands)
    if hint:
        print(hint, file=sys.stderr)
        return 2
    return import_module(LAUNCHER).main(words)


def _run(subcommand: Subcommand, words: list[str]) -> int:
    try:
        return import_module(subcommand.module).main(words)
    except ComposerError as error:
        # Our own errors say what to do; a traceback would bury it.
        print(f"composer: {error}", file=sys.stderr)
        return 1


def _misspelt(first: str, subcommands: dict[str, Subcommand]) -> str | None:
    # Only a bare word that is no file can be a slip; `-n`, `train.py` and `./x` mean the launcher.
    if first.startswith("-") or not first.replace("-", "").isalpha() or Path(first).exists():
        return None
    hint = did_you_mean(first, subcommands, max_listed=0)
    return f"composer: there is no script {first!r} here.{hint}" if hint else None


def _overview() -> str:
    lines = [f"  composer {word:<14} {each.help}" for word, each in available().items()]
    return "\n".join(
        [
            "composer SUBCOMMAND ...            one of those below; each takes --help",
            "composer [options] SCRIPT ...      train with SCRIPT, one process per accelerator",
            "",
            *lines,
            "",
            "A script named like a subcommand is launched by its path, e.g. `composer ./env`.",
            "The launcher's options:",
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
