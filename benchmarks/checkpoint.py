"""What a checkpoint costs, next to ``torch.save`` and torch's own asynchronous save.

    python benchmarks/checkpoint.py [--parameters 100e6] [--rounds 5] [--folder DIR]

A model with AdamW, in host memory. All contestants save the same state to the same folder in turns;
ratios are taken within a round and their median is reported. *Held* is the wall time for which the
calling thread cannot train; next to it stands the CPU time the process has used meanwhile, which
other programs on the machine disturb less. The first save, which takes memory that was never
touched, is stated for itself.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import resource
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.distributed.checkpoint as dcp

from composer.checkpoint.load_run import load_checkpoint
from composer.checkpoint.manager import CheckpointManager
from composer.checkpoint.plain import as_plain
from composer.checkpoint.save_run import collect
from composer.core.logger import Logger
from composer.core.state import State
from composer.devices.device_cpu import DeviceCPU

LAYERS = 12


def make_state(num_parameters: float, seed: int) -> State:
    """Make a run of a model with AdamW whose averages exist."""
    torch.manual_seed(seed)
    width = int((num_parameters / LAYERS) ** 0.5)
    model = torch.nn.Sequential(*(torch.nn.Linear(width, width) for _ in range(LAYERS)))
    optimizer = torch.optim.AdamW(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    return State(model, seed, "run", DeviceCPU(), "1ep", optimizers=optimizer)


class Took(NamedTuple):
    """What a call took, in seconds."""

    wall: float
    cpu: float


def seconds(function: Callable[[], object]) -> Took:
    """Return what a call took."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return Took(time.perf_counter() - wall, time.process_time() - cpu)


def peak_bytes() -> int:
    """Return the most memory this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def held_bytes() -> int:
    """Return the memory this process holds now."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Contestants:
    """Saves and loads the same state in three ways."""

    def __init__(self, state: State, folder: str) -> None:
        self.state = state
        self.plain_path = os.path.join(folder, "plain.pt")
        self._folder = folder
        self.manager = CheckpointManager(os.path.join(folder, "ours"), "run", "ours.pt")
        self.number = 0

    def torch_save(self) -> Took:
        """Return the time torch.save holds the loop."""
        return seconds(lambda: torch.save(as_plain(collect(self.state)), self.plain_path))

    def ours(self) -> tuple[Took, float]:
        """Return the time our save holds the loop, and the time until it is safe on disk."""
        start = time.perf_counter()
        held = seconds(lambda: self.manager.save(collect(self.state), "ours.pt", timestamp={}))
        self.manager.wait()
        return held, time.perf_counter() - start

    def torch_async(self) -> Took:
        """Return the time torch's asynchronous save holds the loop, once its memory is there."""
        path = os.path.join(self._folder, "dcp")
        saved = {"state": self.state.get_model_state_dict(), "optim": self._optimizer_tensors()}
        futures: list[Any] = []
        held = seconds(lambda: futures.append(self._async_save(saved, path)))
        futures[0].result()
        shutil.rmtree(path)
        return held

    def _async_save(self, saved: dict[str, Any], path: str) -> Any:
        return dcp.async_save(saved, checkpoint_id=path, no_dist=True, async_stager=self._stager)

    def use_stager(self) -> None:
        """Let torch keep its staging memory too."""
        from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

        self._stager = DefaultStager(StagingOptions(False, False, False, False))

    def _optimizer_tensors(self) -> dict[str, Any]:
        entries = self.state.get_optim_state_dict()["AdamW"]["state"]
        return {name: dict(values) for name, values in entries.items()}

    def torch_load(self, into: State) -> Took:
        """Return the time of torch.load and loading the result into a run."""

        def load() -> None:
            contents = torch.load(self.plain_path, weights_only=True)
            into.load_state_dict(contents["state"], Logger(into), True)

        return seconds(load)

    def our_load(self, into: State, verify: bool) -> Took:
        """Return the time of our load, with or without comparing hashes."""
        path = os.path.join(self.manager.folder, "ours.pt")
        return seconds(lambda: load_checkpoint(path, into, Logger(into), verify=verify))


def raw_bytes(state: State) -> int:
    """Return the bytes of all tensors of the state."""
    tensors = [*state.model.state_dict().values()]
    for entries in state.optimizers[0].state.values():
        tensors += [value for value in entries.values() if isinstance(value, torch.Tensor)]
    return sum(tensor.nbytes for tensor in tensors)


def spread(values: list[float]) -> str:
    """Return median and range of values."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def report(name: str, took: list[Took], base: list[Took] | None = None) -> None:
    """Print what a contestant took, and its ratio to another in the same rounds."""
    line = (
        f"{name:<22} wall {spread([t.wall for t in took])} s, CPU {spread([t.cpu for t in took])} s"
    )
    if base is not None:
        pairs = list(zip(took, base, strict=True))
        line += f"; ratio wall {spread([a.wall / b.wall for a, b in pairs])}"
        line += f", CPU {spread([a.cpu / b.cpu for a, b in pairs])}"
    print(line, flush=True)


def measure(num_parameters: float, rounds: int, folder: str) -> None:
    """Run all contestants in turns and print what they took."""
    state, other = make_state(num_parameters, 0), make_state(num_parameters, 1)
    contestants = Contestants(state, folder)
    raw = raw_bytes(state)
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{raw / 1e9:.2f} GB of tensors, {rounds} rounds")

    contestants.torch_save()
    before = held_bytes()
    first, first_done = contestants.ours()
    extra = held_bytes() - before
    size = os.path.getsize(os.path.join(contestants.manager.folder, "ours.pt"))
    print(f"first save: held {first.wall:.2f} s, on disk after {first_done:.2f} s")
    print(f"memory that stays for staging: {extra / raw:.2f} of the tensors")
    print(f"bytes written: {size / raw:.4f} of the tensors", flush=True)

    contestants.use_stager()
    contestants.torch_async()
    plain: list[Took] = []
    held: list[Took] = []
    native: list[Took] = []
    for _ in range(rounds):
        plain.append(contestants.torch_save())
        held.append(contestants.ours()[0])
        native.append(contestants.torch_async())
    report("torch.save", plain)
    report("torch, asynchronous", native, plain)
    report("ours", held, plain)

    contestants.torch_load(other)
    theirs: list[Took] = []
    checked: list[Took] = []
    unchecked: list[Took] = []
    for _ in range(rounds):
        theirs.append(contestants.torch_load(other))
        checked.append(contestants.our_load(other, verify=True))
        unchecked.append(contestants.our_load(other, verify=False))
    report("torch.load", theirs)
    report("ours, hashes compared", checked, theirs)
    report("ours, compared before", unchecked, theirs)
    print(f"peak memory of the process: {peak_bytes() / 1e9:.2f} GB")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parameters", type=float, default=100e6)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", help="where to save; a temporary folder by default")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        measure(options.parameters, options.rounds, folder)


if __name__ == "__main__":
    main()
