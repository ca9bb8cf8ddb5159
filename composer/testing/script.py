"""Runs a training script as one trial: ``python -m composer.testing.script TRIAL SCRIPT ...``.

The first argument is the trial as JSON, the rest what would follow ``python``.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import sys
from collections.abc import Sequence
from typing import Any

from composer.testing.trial import Trial, run_trial

__all__ = ["main"]


def main(argv: Sequence[str]) -> None:
    """Run the trial.

    Args:
        argv: the trial as JSON, then the script and its arguments, or ``-m`` and a module.
    """
    given, *command = argv
    options: dict[str, Any] = json.loads(given)
    options["stops"] = tuple(options["stops"])
    run_trial(lambda: _run(command), Trial(**options))


def _run(command: Sequence[str]) -> None:
    is_module = command[0] == "-m"
    name, *arguments = command[1:] if is_module else command
    sys.argv = [name, *arguments]
    # As Python itself has it: modules beside the script can be imported.
    sys.path.insert(0, os.getcwd() if is_module else os.path.dirname(os.path.abspath(name)))
    with contextlib.suppress(SystemExit):
        if is_module:
            runpy.run_module(name, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(name, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
