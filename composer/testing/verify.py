"""Proves that a run which is interrupted and resumed is the same run.

The program is run straight, twice, so that what differs by itself is known; then it is run again
with interruptions, each followed by a new start that goes on from the newest checkpoint. At every
batch the data, the random states, the weights, the optimizer's state and the logged metrics must be
those of the straight run, to the bit, and at the end the whole state.
"""

from __future__ import annotations

import os
import platform
import random
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

import torch

from composer._version import __version__
from composer.errors import ConfigError
from composer.testing.certificate import Difference, ResumeCertificate
from composer.testing.lives import Forked, Here, Killer, Program
from composer.testing.records import (
    Noise,
    Records,
    differences,
    last_batch,
    noise_between,
    num_tensors,
    ranks_of,
)
from composer.testing.trial import Trial
from composer.trainer.trainer import Trainer

__all__ = ["MACHINE_METRICS", "as_stops", "verify_program", "verify_resume"]

MACHINE_METRICS = (
    "*cpu_*", "*gpu_*", "*disk_*", "*network_*", "*memory*", "throughput/*", "stall/*",
)  # fmt: skip
"""Metrics of the machine and not of the run; two runs have the same by chance at most."""

Stops = int | str | Sequence[int | str] | None


def verify_resume(
    make_trainer: Callable[[], Trainer],
    *,
    interrupt_at: Stops = None,
    num_interruptions: int = 1,
    kill: bool = False,
    num_batches: int | None = None,
    batches_per_epoch: int | None = None,
    seed: int = 17,
    ignore_metrics: Sequence[str] = MACHINE_METRICS,
    folder: str | None = None,
) -> ResumeCertificate:
    """Run a training straight and interrupted, and compare the two.

    Args:
        make_trainer: makes model, data and Trainer anew at each call. Its loggers and its own
            saving are left out; everything else stays. With ``kill`` it must be importable by name.
        interrupt_at: where: ``'7ba'`` or 7 in the middle of an epoch or at its last batch,
            ``'2ep'`` between epochs, or several; by default at random batches.
        num_interruptions: how many random batches, or how many kills.
        kill: whether to end child processes by SIGKILL at random moments instead, while every batch
            is saved.
        num_batches: train only so many batches; by default to ``max_duration``.
        batches_per_epoch: cut epochs to so many batches; by default whole ones.
        seed: of everything random before the Trainer is made, and of where to interrupt.
        ignore_metrics: names of metrics not to compare, as glob patterns; by default those that
            measure the machine. What differs between two straight runs is left out as well.
        folder: where records and checkpoints are written; by default a temporary folder.

    Returns:
        The certificate, or the first difference and what usually causes it; print it, or call
        ``require()``.

    Raises:
        ValueError: an argument cannot work, or the run is too short to be interrupted.
    """
    program = Forked(make_trainer) if kill else Here(make_trainer)
    base = Trial("", num_batches=num_batches, batches_per_epoch=batches_per_epoch, seed=seed)
    kills = num_interruptions if kill else 0
    stops = None if kill else as_stops(interrupt_at)
    return verify_program(
        program, base, stops, num_interruptions, kills, ignore_metrics=ignore_metrics, folder=folder
    )


def verify_program(
    program: Program,
    base: Trial,
    stops: tuple[str, ...] | None,
    num_interruptions: int,
    num_kills: int,
    *,
    ignore_metrics: Sequence[str] = MACHINE_METRICS,
    folder: str | None = None,
) -> ResumeCertificate:
    """Compare runs of a program; :func:`verify_resume` and the command line both come here.

    Args:
        program: starts a life of the run.
        base: what all runs have in common.
        stops: where to interrupt; ``None`` for random batches.
        num_interruptions: how many random batches.
        num_kills: how many times to kill instead; 0 not to.
        ignore_metrics: names of metrics not to compare, as glob patterns.
        folder: where to write; ``None`` for a temporary folder.
    """
    if num_interruptions < 1 or num_kills < 0:
        raise ConfigError(
            f"num_interruptions={num_interruptions} must be at least 1, and num_kills={num_kills} "
            "at least 0"
        )
    with ExitStack() as stack:
        if folder is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="composer-verify-"))
        straight, again = (os.path.join(folder, name) for name in ("straight", "again"))
        program.run(replace(base, folder=straight))
        # With saves, where these are to be hit: what they cost is known then.
        program.run(replace(base, folder=again, saves=num_kills > 0))
        ranks = ranks_of(straight)
        compared = [noise_between(straight, again, rank, ignore_metrics) for rank in ranks]
        noise = Noise.of_all(each for each, _ in compared)
        difference = next((found for _, found in compared if found is not None), None)
        if difference is not None:
            return _certificate(straight, [], noise, difference, is_reproducible=False)
        generator = random.Random(base.seed)
        if num_kills:
            killer = Killer(program, generator)
            folders = killer.run(base, folder, num_kills, Records.read(again, 0).seconds)
            inside = killer.num_inside_saves
        else:
            stops = stops or _random_stops(straight, num_interruptions, generator)
            folders, inside = [os.path.join(folder, "interrupted")], 0
            _run_with_stops(program, replace(base, folder=folders[0], saves=True, stops=stops))
        found = (
            difference
            for each in folders
            for rank in ranks
            for difference in differences(straight, each, rank, noise, num_kills > 0)
        )
        first = next(found, None)
        return _certificate(straight, folders, noise, first, num_kills=num_kills, inside=inside)


def _run_with_stops(program: Program, trial: Trial) -> None:
    for _ in trial.stops:
        if program.run(trial):
            break
    else:
        if program.run(trial):
            return
    raise ConfigError(
        f"the run has ended before it was interrupted at each of {', '.join(trial.stops)}: it must "
        "be longer than that"
    )


def as_stops(given: Stops) -> tuple[str, ...] | None:
    """Return where to interrupt in one form; ``None`` stays.

    Raises:
        ValueError: a text that is neither batches nor epochs.
    """
    if given is None:
        return None
    several = [given] if isinstance(given, int | str) else given
    stops = tuple(f"{each}ba" if isinstance(each, int) else each for each in several)
    for stop in stops:
        if not (stop[-2:] in ("ba", "ep") and stop[:-2].isdecimal() and int(stop[:-2]) > 0):
            raise ConfigError(f"interrupt_at={stop!r} must be batches or epochs: '7ba', '2ep'")
    return stops


def _random_stops(straight: str, number: int, generator: random.Random) -> tuple[str, ...]:
    last = last_batch(Records.read(straight, 0))
    if last <= number:
        raise ConfigError(
            f"a run of {last} batches cannot be interrupted {number} times; train longer"
        )
    return tuple(f"{batch}ba" for batch in sorted(generator.sample(range(1, last), number)))


def _certificate(
    straight: str,
    folders: list[str],
    noise: Noise,
    difference: Difference | None,
    *,
    is_reproducible: bool = True,
    num_kills: int = 0,
    inside: int = 0,
) -> ResumeCertificate:
    records = Records.read(straight, 0)
    names = {name for _, name in records.metrics} - noise.metrics
    starts = [start for each in folders for start in Records.read(each, 0).starts[1:]]
    return ResumeCertificate(
        difference=difference,
        is_reproducible=is_reproducible,
        num_batches=last_batch(records),
        resumed_at=tuple(starts),
        num_kills=num_kills,
        kills_inside_saves=inside,
        num_tensors=num_tensors(straight, 0),
        num_metrics=len(names),
        not_compared=tuple(sorted({*noise.metrics, *noise.state})),
        machine=(
            f"composer {__version__}, torch {torch.__version__}, {platform.machine()}, "
            f"{torch.get_num_threads()} threads"
        ),
    )
