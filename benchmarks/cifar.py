"""Time to 75 % on CIFAR-10: methods of the library together, against plain training.

20,000 training and 5,000 test images, a ResNet-9 of width 16, batches of 128, one thread. What is
timed is training, by the CPU clock, until an evaluation at the end of an epoch finds 75 %; the
evaluations themselves, the same in all arms, are left out.

- ``plain``: SGD with momentum, its rate tuned and lowered in steps, float32.
- ``plain, bfloat16``: the same in bfloat16 with channels last.
- ``composed``: Muon, its decoupled weight decay, a linear schedule, progressive resizing,
  whitening, label smoothing, alternating flips, bfloat16, channels last.
- ``composed - X``: without one of them.

Runs are kept in ``--folder``; started again, it goes on with those that are missing. On a machine
that does other work too, the CPU clock runs fast for all arms alike: compare within one table.
"""

from __future__ import annotations

import argparse
import math
import re
import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from _cifar import Images, add_data_argument, make_model, read_cifar
from _loops import machine

from composer import Trainer
from composer.ablation.records import Record, Recorder, read_record, write_record
from composer.algorithms import (
    ChannelsLast,
    LabelSmoothing,
    ProgressiveResizing,
    Whitening,
)
from composer.core import Algorithm
from composer.optim import (
    DecoupledSGDW,
    LinearWithWarmupScheduler,
    MultiStepWithWarmupScheduler,
    Muon,
)
from composer.utils.text_table import format_table

WIDTH, TRAIN, TEST, BATCH = 16, 20_000, 5_000, 128
METRIC, TARGET = "MulticlassAccuracy", 0.75


@dataclass(frozen=True)
class Arm:
    """How one run trains. As it stands: plain."""

    epochs: float = 4
    muon: bool = False
    sgd_lr: float = 0.1
    decay: float = 5e-5
    linear: bool = False
    small: bool = False
    white: bool = False
    smooth: float = 0.0
    flip: str = "random"
    low_precision: bool = False


PLAIN = Arm()
COMPOSED = Arm(
    epochs=1.9, muon=True, decay=0.1, linear=True, small=True, white=True, smooth=0.2,
    flip="alternating", low_precision=True,
)  # fmt: skip
ARMS = {
    "plain": PLAIN,
    "plain, bfloat16": replace(PLAIN, low_precision=True),
    "composed": COMPOSED,
    "composed - Muon": replace(COMPOSED, muon=False, sgd_lr=0.4, decay=2e-4),
    "composed - weight decay": replace(COMPOSED, decay=0.0),
    "composed - linear schedule": replace(COMPOSED, linear=False),
    "composed - progressive resizing": replace(COMPOSED, small=False),
    "composed - whitening": replace(COMPOSED, white=False),
    "composed - label smoothing": replace(COMPOSED, smooth=0.0),
    "composed - alternating flips": replace(COMPOSED, flip="random"),
    "composed - bfloat16, channels last": replace(COMPOSED, low_precision=False),
}


def make_trainer(arm: Arm, train: Images, test: Images, seed: int) -> Trainer:
    model = make_model(WIDTH, seed)
    loader = train.loader(
        BATCH,
        shuffle=True,
        drop_last=True,
        flip=arm.flip,
        seed=seed,
        channels_last=arm.low_precision,
    )
    methods: list[Algorithm] = []
    if arm.small:  # 16 pixels for a quarter of the run, 24 for two fifths, then all 32
        methods.append(
            ProgressiveResizing("area", 0.5, finetune_fraction=0.1, delay_fraction=0.05,
                                size_increment=8)
        )  # fmt: skip
    if arm.white:
        methods.append(Whitening(freeze_norm=True))
    if arm.smooth:
        methods.append(LabelSmoothing(arm.smooth))
    if arm.low_precision:
        methods.append(ChannelsLast())
    if arm.muon:
        optimizer: Any = Muon(
            model, lr=0.1, momentum=0.7, weight_decay=arm.decay, num_steps=3, adamw_lr=0.02
        )
    else:
        optimizer = DecoupledSGDW(
            model.parameters(),
            lr=arm.sgd_lr,
            momentum=0.9,
            nesterov=True,
            weight_decay=arm.decay,
        )
    steps = MultiStepWithWarmupScheduler("0.05dur", ["0.65dur", "0.85dur"], gamma=0.1)
    linear = LinearWithWarmupScheduler("0.2dur", alpha_f=0.0)
    return Trainer(
        model=model,
        train_dataloader=loader,
        eval_dataloader=test.loader(500, mean=loader.mean, std=loader.std),
        optimizers=optimizer,
        schedulers=linear if arm.linear else steps,
        algorithms=methods,
        # In batches: methods that follow the run's progress then do so batch by batch.
        max_duration=f"{int(arm.epochs * len(loader))}ba",
        eval_interval="1ep",
        precision="amp_bf16" if arm.low_precision else "fp32",
        progress_bar=False,
        device="cpu",
        seed=seed,
    )


def run(name: str, seed: int, train: Images, test: Images, folder: Path) -> Record:
    """Make a run, unless there is one already."""
    conditions = {"arm": str(ARMS[name]), "target": TARGET}
    path = folder / f"{re.sub('[^a-z0-9A-Z]+', '-', name)}-seed{seed}.json"
    if path.exists():
        return read_record(path, conditions)
    record = Record(name, seed, conditions)
    recorder = Recorder(record, METRIC, clock="cpu", target=TARGET)
    trainer = make_trainer(ARMS[name], train, test, seed)
    trainer.state.callbacks = [*trainer.state.callbacks, recorder]
    trainer.fit()
    trainer.close()
    write_record(record, path)
    print(f"{name}, seed {seed}: {record.final:.4f} after {record.seconds:.1f} s", flush=True)
    return record


def table(runs: dict[str, list[Record]]) -> str:
    header = ("arm", "accuracy when it ended, %", "reached", "seconds to it", "least .. most",
              "plain takes times", "in bfloat16 times")  # fmt: skip
    mean = {name: _mean(_seconds(records)) for name, records in runs.items()}
    rows = []
    for name, records in runs.items():
        seconds = _seconds(records)
        rows.append((
            name,
            f"{100 * statistics.fmean(r.final for r in records):.1f}",
            f"{len(seconds)} of {len(records)}",
            f"{mean[name]:.1f}" if seconds else "-",
            f"{min(seconds):.1f} .. {max(seconds):.1f}" if seconds else "-",
            *(f"{mean.get(base, math.nan) / mean[name]:.2f}" for base in list(ARMS)[:2]),
        ))  # fmt: skip
    return "\n".join(format_table([header, *rows]))


def _seconds(records: list[Record]) -> list[float]:
    points = [record.reached(TARGET, greater_is_better=True) for record in records]
    return [point.seconds for point in points if point is not None]


def _mean(values: list[float]) -> float:
    return statistics.fmean(values) if values else math.nan


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_argument(parser)
    parser.add_argument("--folder", type=Path, default=Path("cifar"), help="where runs are kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), metavar="ARM")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    train, test = read_cifar(arguments.data)
    train, test = train.first(TRAIN), test.first(TEST)
    runs: dict[str, list[Record]] = {name: [] for name in arguments.arms}
    # Arms take turns, so that a machine that slows down does so for all of them.
    for seed in arguments.seeds:
        for name in arguments.arms:
            runs[name].append(run(name, seed, train, test, arguments.folder))
    print(f"\n{table(runs)}\n\n{machine()}")


if __name__ == "__main__":
    main()
