"""``composer env``: the report for a bug report, and the environment variables there are."""

import argparse
import json
import os
from collections.abc import Sequence

from composer.env import all_variables
from composer.utils.collect_env import get_composer_env_dict, print_env


def main(argv: Sequence[str] | None = None) -> int:
    """Run the subcommand.

    Args:
        argv: the words after ``composer env``; those of the process if ``None``.

    Returns:
        The exit status, 0.
    """
    options = _parser().parse_args(argv)
    if options.variables:
        _print_variables()
    elif options.json:
        print(json.dumps(get_composer_env_dict(), indent=2))
    else:
        print_env()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("composer env", description="Describe this installation.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--json", action="store_true", help="only what Composer itself knows, as JSON"
    )
    what.add_argument(
        "--variables", action="store_true", help="list the environment variables Composer reads"
    )
    return parser


def _print_variables() -> None:
    # Values are not shown: some are tokens, and reports get pasted in public.
    for variable in all_variables():
        state = "set" if variable.name in os.environ else "not set"
        print(f"{variable.name} ({state})\n    {variable.help}")
