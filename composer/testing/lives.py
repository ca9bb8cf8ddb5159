"""The ways to start a life of a run: here, in a child process, as a script; and to end it early."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from composer.checkpoint.manifest import OWN_FOLDER
from composer.errors import ConfigError, TrainingError
from composer.testing.records import Records
from composer.testing.trial import Trial, run_trial
from composer.trainer.trainer import Trainer

__all__ = ["Child", "Forked", "Here", "Killer", "Program", "Script"]

_POLL_S = 0.002
_PATIENCE_S = 600.0
# What every life would otherwise load again, which takes longer than many a life.
_PRELOADED = ["composer.testing.trial", "composer.metrics.metrics", "torch._dynamo"]


class Program(Protocol):
    """Something that can be run from the beginning or gone on with."""

    def run(self, trial: Trial) -> bool:
        """Run one life to where it ends by itself; whether the run is complete then."""
        ...

    def start(self, trial: Trial) -> Child:
        """Start one life in a process of its own."""
        ...


class Child(Protocol):
    """A process that is one life of a run."""

    @property
    def pid(self) -> int | None:
        """Its number."""
        ...

    def poll(self) -> int | None:
        """Return its exit code, or ``None`` while it runs."""
        ...


class Here:
    """Runs in this process, which is quickest.

    Args:
        make_trainer: makes everything anew.
    """

    def __init__(self, make_trainer: Callable[[], Trainer]) -> None:
        self._make_trainer = make_trainer

    def run(self, trial: Trial) -> bool:
        """As of :class:`Program`."""
        return run_trial(self._make_trainer, trial)

    def start(self, trial: Trial) -> Child:
        """Refuse: this process is not to be killed."""
        raise ConfigError(f"{trial.folder!r} cannot be started in a process of its own here")


class _ForkedChild:
    def __init__(self, process: Any) -> None:
        self._process = process
        self.pid: int | None = process.pid

    def poll(self) -> int | None:
        return self._process.exitcode


class Forked:
    """Runs each life in a fresh process that has loaded the library and nothing else.

    Args:
        make_trainer: importable by name.
    """

    def __init__(self, make_trainer: Callable[[], Trainer]) -> None:
        self._make_trainer = make_trainer
        method = "forkserver" if sys.platform != "win32" else "spawn"
        self._context: Any = multiprocessing.get_context(method)
        if method == "forkserver":
            self._context.set_forkserver_preload(_PRELOADED)

    def run(self, trial: Trial) -> bool:
        """As of :class:`Program`."""
        return _wait(self.start(trial), trial)

    def start(self, trial: Trial) -> Child:
        """As of :class:`Program`."""
        process = self._context.Process(target=run_trial, args=(self._make_trainer, trial))
        process.start()
        return _ForkedChild(process)


class Script:
    """Runs somebody's training script as it is.

    Args:
        command: the script and its arguments; with ``-m`` before it, a module.
        num_ranks: how many processes train together.
    """

    def __init__(self, command: Sequence[str], num_ranks: int = 1) -> None:
        self._command = command
        self._num_ranks = num_ranks

    def run(self, trial: Trial) -> bool:
        """As of :class:`Program`."""
        return _wait(self.start(trial), trial)

    def start(self, trial: Trial) -> Child:
        """As of :class:`Program`."""
        given = json.dumps(dataclasses.asdict(trial))
        launcher = ["-m", "composer.cli.launcher", "-n", str(self._num_ranks), "-m"]
        before = launcher if self._num_ranks > 1 else ["-m"]
        command = [sys.executable, *before, "composer.testing.script", given, *self._command]
        Path(trial.folder).mkdir(parents=True, exist_ok=True)
        with open(os.path.join(trial.folder, "output.txt"), "ab") as output:
            return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)


def _wait(child: Child, trial: Trial) -> bool:
    """Wait for a life's own end; whether the run is complete then."""
    while child.poll() is None:
        time.sleep(_POLL_S)
    if child.poll() != 0:
        raise TrainingError(
            f"the program failed with exit code {child.poll()}{_last_words(trial.folder)}"
        )
    return Records.read(trial.folder, 0).is_complete


def _last_words(folder: str) -> str:
    path = Path(folder, "output.txt")
    if not path.exists():
        return ""
    return ":\n" + "\n".join(path.read_text(errors="replace").splitlines()[-20:])


class Killer:
    """Ends lives by SIGKILL at random moments until it has done so often enough.

    Args:
        program: what to run; every batch is saved.
        generator: chooses the moments.
    """

    def __init__(self, program: Program, generator: random.Random) -> None:
        self.num_inside_saves = 0
        self._program = program
        self._generator = generator

    def run(self, base: Trial, folder: str, num_kills: int, duration_s: float) -> list[str]:
        """Kill, and let the last life of each run come to its end.

        A run that ends before it was killed often enough is followed by another.

        Args:
            base: what all runs have in common.
            folder: where to make a folder for each run.
            num_kills: how many kills.
            duration_s: about how long one run trains and saves.

        Returns:
            The folders of the runs.
        """
        folders: list[str] = []
        left = num_kills
        while left > 0:
            folders.append(os.path.join(folder, f"killed-{len(folders)}"))
            trial = dataclasses.replace(base, folder=folders[-1], saves=True)
            mean = duration_s / min(left + 1, 8)
            while left > 0 and self._kill_once(trial, self._generator.expovariate(1 / mean)):
                left -= 1
            if not Records.read(trial.folder, 0).is_complete:
                self._program.run(trial)
        return folders

    def _kill_once(self, trial: Trial, delay_s: float) -> bool:
        """Start a life and kill it so long after it began to train; false if it ended before."""
        known = len(Records.read(trial.folder, 0).starts)
        child = self._program.start(trial)
        deadline = time.monotonic() + _PATIENCE_S
        while child.poll() is None and len(Records.read(trial.folder, 0).starts) == known:
            if time.monotonic() > deadline:
                os.kill(child.pid or 0, signal.SIGKILL)
                raise TrainingError(f"the program did not begin to train in {_PATIENCE_S:.0f} s")
            time.sleep(_POLL_S)
        time.sleep(delay_s)
        if child.poll() is not None:
            if child.poll() != 0:
                raise TrainingError(
                    f"the program failed with exit code {child.poll()}{_last_words(trial.folder)}"
                )
            return False
        os.kill(child.pid or 0, signal.SIGKILL)
        while child.poll() is None:
            time.sleep(_POLL_S)
        # What is being written lies aside until it is whole.
        aside = Path(trial.folder, "checkpoints", OWN_FOLDER, "aside")
        self.num_inside_saves += aside.exists() and any(aside.iterdir())
        return True
