"""Time and peak memory of a language model's loss: all scores at once, or in chunks.

Each contestant runs alone in a fresh process with one thread: the head's forward and backward pass
with cross entropy. Memory is the most the process ever held over what it held when the tensors were
made, gradients included. Run it as ``python benchmarks/fused_loss.py``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from _loops import machine
from torch import Tensor

from composer.loss import linear_cross_entropy

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def plain(hidden: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(F.linear(hidden, weight), target)


def torchs_own(hidden: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    # Since torch 2.13.
    options = torch.nn.LinearCrossEntropyOptions()
    return F.linear_cross_entropy(hidden, weight, target, options=options)


CONTESTANTS: dict[str, Loss] = {
    "F.cross_entropy": plain,
    "linear_cross_entropy": linear_cross_entropy,
}
if hasattr(torch.nn, "LinearCrossEntropyOptions"):
    CONTESTANTS["torch's own, in chunks"] = torchs_own


def run(name: str, sizes: tuple[int, int, int], rounds: int, autocast: bool) -> list[float]:
    """Seconds of CPU time of each round, then megabytes."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokens, width, vocabulary = sizes
    hidden = torch.randn(tokens, width, requires_grad=True)
    weight = (torch.randn(vocabulary, width) / width**0.5).requires_grad_()
    target = torch.randint(vocabulary, (tokens,))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    taken: list[float] = []
    for _ in range(rounds):
        hidden.grad = weight.grad = None
        started = time.thread_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = CONTESTANTS[name](hidden, weight, target)
        loss.backward()
        taken.append(time.thread_time() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return [*taken, peak / 1024]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--vocabulary", type=int, default=50304)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    sizes = (given.tokens, given.width, given.vocabulary)
    print(
        f"{machine()}\n\n{given.tokens} tokens, width {given.width}, {given.vocabulary} classes\n"
    )
    print("| | CPU time: median (least to most) | peak memory over the inputs |\n|---|--:|--:|")
    context = multiprocessing.get_context("spawn")
    for autocast in (False, True):
        for name in CONTESTANTS:
            with context.Pool(1) as pool:
                *taken, memory = pool.apply(run, (name, sizes, given.rounds, autocast))
            kind = "bfloat16" if autocast else "float32"
            print(
                f"| {name}, {kind} | {statistics.median(taken):.2f} s ({min(taken):.2f} to "
                f"{max(taken):.2f}) | {memory:.0f} MB |",
                flush=True,
            )


if __name__ == "__main__":
    main()
