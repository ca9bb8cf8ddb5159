"""`composer verify-resume train.py ...`: prove that a training script resumes exactly.

The script runs as it is, some times in a row and cut short: straight, straight again, and
interrupted and resumed. Its loggers and its own checkpoints are left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from composer.errors import ConfigError

__all__ = ["main", "make_parser"]

_LEAST = {"nproc": 1, "kill": 0, "times": 1, "batches": 1, "batches-per-epoch": 1}


def main(argv: Sequence[str]) -> int:
    """Run the subcommand.

    Args:
        argv: the words after ``composer verify-resume``.

    Returns:
        0 if the interrupted run is the same run; 1 if it is not.
    """
    arguments = make_parser().parse_args(argv)
    if not arguments.module and not Path(arguments.script).exists():
        raise ConfigError(f"there is no script {arguments.script!r} here; for a module use -m")
    # Not before: `composer --help` must not wait for torch.
    from composer.testing.lives import Script
    from composer.testing.trial import Trial
    from composer.testing.verify import as_stops, verify_program

    for name, least in _LEAST.items():
        given = getattr(arguments, name.replace("-", "_"))
        if given < least:
            raise ConfigError(f"--{name}={given} must be at least {least}")
    if arguments.kill and arguments.nproc > 1:
        raise ConfigError("--kill works with one process; leave out -n or --kill")
    command = [arguments.script, *arguments.script_args]
    program = Script(["-m", *command] if arguments.module else command, arguments.nproc)
    base = Trial("", False, (), arguments.batches, arguments.batches_per_epoch, arguments.seed)
    stops = as_stops(arguments.at)
    certificate = verify_program(
        program, base, stops, arguments.times, arguments.kill, folder=arguments.folder
    )
    print(certificate)
    return 0 if certificate.is_proven else 1


def make_parser() -> argparse.ArgumentParser:
    """The subcommand's command line."""
    parser = argparse.ArgumentParser(
        prog="composer verify-resume",
        description="Run a training script straight and interrupted, and compare data, random "
        "states, weights, optimizer state and metrics at every batch.",
        epilog="The first Trainer that the script makes is compared. Its loggers and its own "
        "checkpoints are left out, and nothing outside a temporary folder is written by it.",
    )
    add = parser.add_argument
    add("--at", type=_split, metavar="WHERE", help="where to interrupt: 7ba in the middle of an "
        "epoch, 2ep between epochs; several as 7ba,2ep [random batches]")  # fmt: skip
    add("--times", type=int, default=2, metavar="N", help="how many random interruptions [2]")
    add("--kill", type=int, default=0, metavar="N", help="end the script by SIGKILL at N random "
        "moments instead, saving every batch")  # fmt: skip
    add("--batches", type=int, default=20, metavar="N", help="how many batches to train [20]")
    add("--batches-per-epoch", type=int, default=8, metavar="N",
        help="cut epochs to so many, so that some end [8]")  # fmt: skip
    add("--seed", type=int, default=17, metavar="N", help="of everything random [17]")
    add("-n", "--nproc", type=int, default=1, metavar="N", help="processes that train together [1]")
    add("--folder", metavar="PATH", help="keep records and checkpoints there [a temporary folder]")
    add("-m", "--module", action="store_true", help="SCRIPT is a module, as in `python -m`")
    add("script", metavar="SCRIPT", help="what to run")
    add("script_args", metavar="...", nargs=argparse.REMAINDER, help="its arguments")
    return parser


def _split(text: str) -> list[str]:
    return text.split(",")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
