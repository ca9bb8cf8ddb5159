"""What each method adds to a step, next to a minimal version written by hand.

The version by hand does the same to the same tensors in plain calls. Both take turns in one process
and one thread, by the CPU clock of the thread. A method that acts on events is timed as the
difference between the events of a step with and without it; of a method that replaces layers, the
forward and backward pass of such a layer is timed. Run it as ``python benchmarks/methods.py``;
``--help`` tells what can be chosen.

A new entry is a function that returns a `Contest`, and its line in one of the ``ENTRIES``.
"""

from __future__ import annotations

import argparse
import logging
import warnings

import _method_data
import _method_events
import _method_language
import _method_layers
import _method_optimizers
import torch
from _contest import Entries, line
from _loops import machine

TARGET = 1.1

SOURCES = (_method_data, _method_events, _method_layers, _method_language, _method_optimizers)
ENTRIES: Entries = dict(sorted({k: v for s in SOURCES for k, v in s.ENTRIES.items()}.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--methods", nargs="+", choices=[*ENTRIES], default=[*ENTRIES])
    parser.add_argument("--turns", type=int, default=200, help="steps of each, in turns")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print(machine())
    print(
        f"\n{options.turns} steps of each in turns, microseconds of CPU time: median (quartiles)."
    )
    print(" ".join(source.SETTING for source in SOURCES if hasattr(source, "SETTING")))
    print(f"Target: at most {TARGET} times the version by hand.\n")
    print("| method | by hand | the method | ratio of medians |")
    print("|---|--:|--:|--:|")
    for name in options.methods:
        print(line(name, ENTRIES[name](), options.turns), flush=True)


if __name__ == "__main__":
    main()
