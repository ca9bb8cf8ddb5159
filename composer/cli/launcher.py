"""`composer -n 8 train.py ...`: start one process per GPU and look after them.

Each process learns its place from environment variables: RANK, WORLD_SIZE, LOCAL_RANK,
LOCAL_WORLD_SIZE, NODE_RANK, MASTER_ADDR, MASTER_PORT (see `composer.env`). This file reads the
command line and writes those; `composer.cli.processes` starts, watches and stops the processes.

It is not built on torch's elastic agent, for three reasons. The agent numbers ranks by machine, and
so cannot take a first rank per machine (``--base_rank``) where machines differ. Its own process
would import torch, seconds before the first worker can start to. And its workers outlive it when it
is killed. What it adds, restarts in place, Composer does by resuming from a checkpoint. Scripts
started by torchrun work all the same: they read the same variables.
"""

import argparse
import os
import shutil
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from composer._version import __version__
from composer.cli.gpus import count_gpus
from composer.cli.processes import Job, run_jobs
from composer.env import (
    BASE_RANK,
    LOCAL_WORLD_SIZE,
    MASTER_ADDR,
    MASTER_PORT,
    NODE_RANK,
    WORLD_SIZE,
)
from composer.errors import ComposerError, ConfigError

__all__ = ["Layout", "main", "make_parser", "resolve_layout"]

USAGE_ERROR = 2
"""Exit code when nothing was started because the command line cannot work."""

_TEMPLATE_FIELDS = ("rank", "local_rank", "world_size", "node_rank", "local_world_size")


@dataclass(frozen=True, slots=True)
class Layout:
    """Which ranks run here and where rank 0 is found.

    Attributes:
        nproc: how many processes this machine runs.
        world_size: how many there are on all machines.
        base_rank: rank of this machine's first process.
        node_rank: number of this machine.
        master_addr: host of rank 0.
        master_port: port on which it waits for the others.
    """

    nproc: int
    world_size: int
    base_rank: int
    node_rank: int
    master_addr: str
    master_port: int

    def variables(self, local_rank: int) -> dict[str, str]:
        """Environment variables that tell a process its place."""
        return {
            "RANK": str(self.base_rank + local_rank),
            "WORLD_SIZE": str(self.world_size),
            "LOCAL_RANK": str(local_rank),
            "LOCAL_WORLD_SIZE": str(self.nproc),
            "NODE_RANK": str(self.node_rank),
            "MASTER_ADDR": self.master_addr,
            "MASTER_PORT": str(self.master_port),
            "PYTHONUNBUFFERED": "1",
        }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments; those of the program by default.

    Returns:
        0 if all processes succeeded; the exit code of the first that failed; 75 if they were asked
        to make room and have saved, so that the same command goes on later; 128 + the signal's
        number if one ended the launcher otherwise; 2 if nothing was started.
    """
    parser = make_parser()
    arguments = parser.parse_args(argv)
    try:
        jobs = _jobs(arguments, resolve_layout(arguments))
        return run_jobs(
            jobs,
            grace_s=arguments.grace_period,
            save_s=arguments.save_period,
            verbose=arguments.verbose,
            # A shell does not pass signals on, so a command's children are told directly; a
            # Python script may still need its data loading processes to save its work.
            signal_children=arguments.command_mode,
        )
    except ComposerError as error:
        print(f"composer: error: {error}", file=sys.stderr)
        return USAGE_ERROR


def make_parser() -> argparse.ArgumentParser:
    """The launcher's command line."""
    parser = argparse.ArgumentParser(
        prog="composer",
        description="Start a training script in several processes, one per GPU.",
        epilog="Each option in the second group may also come from the environment variable of "
        "its name. Options after the script belong to the script.",
    )
    add = parser.add_argument
    add("--version", action="version", version=f"Composer {__version__}")
    add("-n", "--nproc", type=int, metavar="N", help="processes on this machine [LOCAL_WORLD_SIZE, "
        "or the number of GPUs, or 1]")  # fmt: skip
    add("--stdout", metavar="FILE", help="where local ranks over 0 write their output, e.g. "
        "'logs/{rank}.out'; fields: " + ", ".join(_TEMPLATE_FIELDS))  # fmt: skip
    add("--stderr", metavar="FILE", help="the same for their error output")
    add("-v", "--verbose", action="store_true", help="say what is started and how it ends")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("-m", "--module_mode", action="store_true",
                      help="SCRIPT is a module, as in `python -m`")  # fmt: skip
    mode.add_argument("-c", "--command_mode", action="store_true",
                      help="SCRIPT is a command, not started with Python")  # fmt: skip
    add("--grace_period", type=float, default=30.0, metavar="S",
        help="after one has failed: seconds between asking the others to end and killing them "
        "[30]")  # fmt: skip
    add("--save_period", type=float, default=600.0, metavar="S",
        help="after a signal: seconds that processes get to save and end [600]; a second signal "
        "kills them at once")  # fmt: skip
    _add_multi_node(parser)
    add("script", metavar="SCRIPT", help="what to start")
    add("script_args", metavar="...", nargs=argparse.REMAINDER, help="its arguments")
    return parser


def _add_multi_node(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group(
        "several machines", "Run the launcher on each of them with its own --node_rank."
    ).add_argument
    add("--world_size", type=int, metavar="N", help="processes on all machines [--nproc]")
    add("--base_rank", type=int, metavar="R", help="rank of this machine's first process")
    add("--node_rank", type=int, metavar="R", help="number of this machine, from 0")
    add("--master_addr", metavar="HOST", help="host of rank 0 [127.0.0.1]")
    add("--master_port", type=int, metavar="PORT", help="a free port there [any]")


def resolve_layout(arguments: argparse.Namespace) -> Layout:
    """Work out the ranks from options, environment and the machine.

    Args:
        arguments: what the parser read.

    Raises:
        ConfigError: they contradict each other, or something is missing for several machines.
    """
    nproc = _first(arguments.nproc, LOCAL_WORLD_SIZE.get())
    if nproc is None:
        nproc = max(1, count_gpus())
    world_size = _first(arguments.world_size, WORLD_SIZE.get())
    if world_size is None:
        world_size = nproc
    if nproc < 1:
        raise ConfigError(f"--nproc={nproc} must be at least 1.")
    if world_size < nproc:
        raise ConfigError(
            f"--world_size={world_size} counts the processes of all machines and is less than "
            f"--nproc={nproc} of this one. Leave it out for one machine (and unset WORLD_SIZE)."
        )
    base_rank, node_rank = _place(arguments, nproc, world_size)
    master_addr = arguments.master_addr or MASTER_ADDR.get()
    master_port = _first(arguments.master_port, MASTER_PORT.get())
    if world_size > nproc and (master_addr is None or master_port is None):
        raise ConfigError(
            f"--world_size={world_size} over --nproc={nproc} means several machines, which need "
            "--master_addr and --master_port, the same on all of them."
        )
    if master_port is not None and not 0 < master_port < 65536:
        raise ConfigError(f"--master_port={master_port} must be from 1 to 65535.")
    return Layout(
        nproc=nproc,
        world_size=world_size,
        base_rank=base_rank,
        node_rank=node_rank,
        master_addr=master_addr or "127.0.0.1",
        master_port=_free_port() if master_port is None else master_port,
    )


def _place(arguments: argparse.Namespace, nproc: int, world_size: int) -> tuple[int, int]:
    """This machine's first rank and number; each follows from the other if machines are equal."""
    base_rank = _first(arguments.base_rank, BASE_RANK.get())
    node_rank = _first(arguments.node_rank, NODE_RANK.get())
    if world_size == nproc:
        if base_rank or node_rank:
            raise ConfigError(
                f"--base_rank={base_rank or 0} and --node_rank={node_rank or 0} place this "
                f"machine among others, and all {nproc} processes run here. Give --world_size."
            )
        return 0, 0
    if base_rank is None and node_rank is None:
        raise ConfigError(
            f"--world_size={world_size} over --nproc={nproc} means several machines, which need "
            "--node_rank or --base_rank."
        )
    if base_rank is None or node_rank is None:
        if world_size % nproc or (base_rank or 0) % nproc:
            raise ConfigError(
                f"--world_size={world_size} and --nproc={nproc} mean that machines run unequally "
                "many processes; then give both --base_rank and --node_rank."
            )
        base_rank = (node_rank or 0) * nproc if base_rank is None else base_rank
        node_rank = base_rank // nproc if node_rank is None else node_rank
    if base_rank < 0 or node_rank < 0 or base_rank + nproc > world_size:
        raise ConfigError(
            f"ranks {base_rank} to {base_rank + nproc - 1} (--base_rank, --node_rank) do not fit "
            f"into --world_size={world_size}."
        )
    return base_rank, node_rank


def _jobs(arguments: argparse.Namespace, layout: Layout) -> list[Job]:
    command = _command(arguments)
    jobs: list[Job] = []
    for local_rank in range(layout.nproc):
        variables = layout.variables(local_rank)
        environment = {"TORCH_NCCL_ASYNC_ERROR_HANDLING": "1", **os.environ, **variables}
        fields = {name: variables[name.upper()] for name in _TEMPLATE_FIELDS}
        jobs.append(
            Job(
                rank=layout.base_rank + local_rank,
                command=command,
                environment=environment,
                inherits_output=local_rank == 0,
                stdout=_fill("--stdout", arguments.stdout, fields),
                stderr=_fill("--stderr", arguments.stderr, fields),
            )
        )
    return jobs


def _command(arguments: argparse.Namespace) -> tuple[str, ...]:
    script: str = arguments.script
    if arguments.command_mode:
        if shutil.which(script) is None:
            raise ConfigError(f"there is no command {script!r} to start.")
        return (script, *arguments.script_args)
    if arguments.module_mode:
        return (sys.executable, "-u", "-m", script, *arguments.script_args)
    if not Path(script).exists():
        raise ConfigError(
            f"there is no script {script!r} in {os.getcwd()!r}. For a module use -m, for another "
            "command -c."
        )
    return (sys.executable, "-u", script, *arguments.script_args)


def _fill(option: str, template: str | None, fields: dict[str, str]) -> Path | None:
    if template is None:
        return None
    try:
        return Path(template.format(**fields))
    except (KeyError, IndexError, ValueError) as error:
        raise ConfigError(
            f"{option}={template!r} cannot be filled in ({error!r}); known fields are "
            + ", ".join(f"{{{name}}}" for name in _TEMPLATE_FIELDS)
            + "."
        ) from None


def _first(option: int | None, variable: int | None) -> int | None:
    return variable if option is None else option


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
