"""What methods do for a small GPT on a text: on against off, with `composer.ablation`.

    python benchmarks/text.py parts TEXT      the parts of examples/gpt, one by one and together
    python benchmarks/text.py methods TEXT    single methods, for their cards

Every run trains for the same number of batches, on one thread, by the CPU clock of the process, so
that a machine that does other work too disturbs little. What `parts` compares with is AdamW, a
cosine, the usual loss and one document a row; what `methods` compares with has packed rows. Both
are judged by the loss of a token of packed validation rows. Learning rates were tuned for either
optimizer with another seed. An interrupted measurement goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from _loops import machine
from _rows import Task, rows_of

from composer.ablation import ablate
from composer.algorithms import (
    EMA,
    LAWA,
    BatchSizeSchedule,
    FusedLinearCrossEntropy,
    GradientClipping,
    SeqLengthWarmup,
)

sys.path.append(str(Path(__file__).resolve().parents[1] / "examples" / "gpt"))

from model import Config
from train import PARTS, load, make_trainer

METRIC = "LanguageCrossEntropy"
CONTEXT, WIDTH, DEPTH, HEADS, ROWS = 128, 128, 2, 2, 16

METHODS: Mapping[str, Any] = {
    "Muon": "muon",
    "EMA": EMA(half_life="10ba"),
    "LAWA": LAWA(num_latest=5, update_interval="5ba"),
    "BatchSizeSchedule": BatchSizeSchedule(),
    "GradientClipping": GradientClipping("norm", 1.0),
    "SeqLengthWarmup": SeqLengthWarmup(0.3, 32, CONTEXT, 32),
    "FusedLinearCrossEntropy": FusedLinearCrossEntropy(z_loss=1e-4),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("what", choices=["parts", "methods"])
    parser.add_argument("text", help="a text file, such as tiny Shakespeare")
    parser.add_argument("--batches", type=int, help="400 for parts, 300 for methods by default")
    parser.add_argument("--seeds", type=int, help="3 for parts and 5 for methods by default")
    parser.add_argument("--target", type=float, help="loss to be reached, for the time to it")
    parser.add_argument("--out", default="out", help="folder for records, report and plot")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(machine(), flush=True)
    task = load(given.text)
    config = Config(len(task.tokenizer), CONTEXT, WIDTH, DEPTH, HEADS)
    is_parts = given.what == "parts"
    num_batches = given.batches or (400 if is_parts else 300)

    def make(seed: int, arm: Any) -> Any:
        with_method = ["packing", *(["muon"] if "Muon" in arm else [])]
        return make_trainer(
            task,
            on=arm if is_parts else with_method,
            seed=seed,
            config=config,
            max_duration=f"{num_batches}ba",
            rows=ROWS,
            eval_interval="25ba",
            progress_bar=False,
            **({} if is_parts else {"algorithms": arm.algorithms}),
        )

    report = ablate(
        make,
        {name: name for name in PARTS} if is_parts else METHODS,
        metric=METRIC,
        seeds=given.seeds or (3 if is_parts else 5),
        designs=["off", "each", "all", "all but one"] if is_parts else ["off", "each"],
        target=given.target,
        clock="cpu",
        folder=f"{given.out}/{given.what}",
    )
    if not is_parts:
        measured = Task(
            workload="tiny Shakespeare, GPT of 0.4 million weights, AdamW and cosine",
            metric="nats a character of the validation part (lower is better)",
            budget=f"{num_batches} batches of {ROWS} x {CONTEXT} characters",
            command="python benchmarks/text.py methods TEXT",
            decimals=3,
            is_lower_better=True,
        )
        print(rows_of(report, METHODS, measured, {"Muon": {"lr": 0.02, "adamw_lr": 0.01}}))


if __name__ == "__main__":
    main()
