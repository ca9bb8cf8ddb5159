"""Does it help? Methods on against off on CIFAR-10, at a short fixed budget.

A ResNet-9 of width 8 trains for three epochs of 20,000 images with SGD in bfloat16, on one thread;
about half a minute of a processor. Each method is switched on alone, five seeds each, paired. The
runs are kept in ``--folder``; started again, it goes on with those that are missing.

It ends with the rows for ``docs/methods/measured.toml``.
"""

from __future__ import annotations

import argparse
import inspect
import statistics
import time
from typing import Any

import torch
from _cifar import Images, add_data_argument, make_model, read_cifar
from _loops import machine

from composer import Trainer
from composer.ablation import Ablation
from composer.ablation.arms import Arm, Method
from composer.ablation.report import Row
from composer.algorithms import (
    EMA,
    LAWA,
    SAM,
    AlternatingFlip,
    BatchSizeSchedule,
    BlurPool,
    ChannelsLast,
    ColOut,
    CutMix,
    CutOut,
    GhostBatchNorm,
    InfoBatch,
    LabelSmoothing,
    LayerFreezing,
    MixUp,
    ProgressiveResizing,
    SelectiveBackprop,
    SqueezeExcite,
    Whitening,
)
from composer.core import Algorithm
from composer.optim import LinearWithWarmupScheduler, Muon

WIDTH, TRAIN, TEST, BATCH, EPOCHS = 8, 20_000, 5_000, 128, 3
BUDGET = f"{EPOCHS * (TRAIN // BATCH)}ba"
METRIC = "MulticlassAccuracy"

METHODS: dict[str, Method] = {
    "Muon": "Muon",
    "Whitening": Whitening(),
    "ProgressiveResizing": ProgressiveResizing("area", delay_fraction=0.4, finetune_fraction=0.2),
    "LabelSmoothing": LabelSmoothing(0.1),
    "AlternatingFlip": AlternatingFlip(),
    "BlurPool": BlurPool(),
    "EMA": EMA(half_life="10ba", update_interval="1ba"),
    "LAWA": LAWA(num_latest=5, update_interval="5ba"),
    "InfoBatch": InfoBatch(),
    "BatchSizeSchedule": BatchSizeSchedule(),
    "SelectiveBackprop": SelectiveBackprop(start=0.3, end=0.9),
    "LayerFreezing": LayerFreezing(freeze_start=0.3, freeze_level=0.6),
    "CutMix": CutMix(alpha=1.0),
    "MixUp": MixUp(alpha=0.2),
    "CutOut": CutOut(length=0.25),
    "ColOut": ColOut(p_row=0.15, p_col=0.15, batch=True),
    "SqueezeExcite": SqueezeExcite(latent_channels=8, min_channels=32),
    "GhostBatchNorm": GhostBatchNorm(ghost_batch_size=32),
    "SAM": SAM(rho=0.05, interval=2),
}
MUON: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.1, "adamw_lr": 0.01}


def make_trainer(train: Images, test: Images, seed: int, arm: Arm) -> Trainer:
    model = make_model(WIDTH, seed)
    flip = None if "AlternatingFlip" in arm else "random"
    loader = train.loader(
        BATCH, shuffle=True, drop_last=True, flip=flip, seed=seed, channels_last=True
    )
    optimizer = (
        Muon(model, **MUON)
        if "Muon" in arm
        else torch.optim.SGD(
            model.parameters(), lr=0.2, momentum=0.9, nesterov=True, weight_decay=5e-4
        )
    )
    return Trainer(
        model=model,
        train_dataloader=loader,
        eval_dataloader=test.loader(500, mean=loader.mean, std=loader.std),
        optimizers=optimizer,
        schedulers=LinearWithWarmupScheduler(t_warmup="0.2dur", alpha_f=0.0),
        algorithms=[*arm.algorithms, ChannelsLast()],
        # In batches: methods that follow the run's progress then do so batch by batch.
        max_duration=BUDGET,
        eval_interval=BUDGET,
        precision="amp_bf16",
        progress_bar=False,
        device="cpu",
        seed=seed,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_argument(parser)
    parser.add_argument("--folder", default="cifar-methods", help="where the runs are kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    train, test = read_cifar(arguments.data)
    train, test = train.first(TRAIN), test.first(TEST)
    report = Ablation(
        lambda seed, arm: make_trainer(train, test, seed, arm),
        {name: METHODS[name] for name in arguments.methods},
        metric=METRIC,
        seeds=arguments.seeds,
        designs=["off", "each"],
        clock="cpu",
        folder=arguments.folder,
    ).run()
    print(machine())
    for row in report.rows[1:]:
        print(as_toml(row, report.rows[0]))


def set_by_hand(name: str) -> str:
    """Return the method's arguments that are not its defaults."""
    method = METHODS[name]
    changed = MUON if name == "Muon" else {}
    if isinstance(method, Algorithm):
        usual = {k: p.default for k, p in inspect.signature(type(method)).parameters.items()}
        changed = {k: v for k, v in method.arguments().items() if v != usual[k]}
    return ", ".join(f"{k}={v}" for k, v in changed.items()) or "defaults"


def as_toml(row: Row, base: Row) -> str:
    """Write one arm as a row of the methods' cards; shares become per cent."""
    name = row.arm.removeprefix("+ ")
    seconds = statistics.fmean(base.seconds)
    values = {
        "workload": f"CIFAR-10, ResNet-9 of width {WIDTH}, {TRAIN} images; {set_by_hand(name)}",
        "metric": "test accuracy, %",
        "without": f"{100 * base.final:.1f}",
        "with": f"{100 * row.final:.1f}",
        "difference": f"{100 * row.gain.mean:+.1f}",
        "interval": f"{100 * row.gain.low:+.1f} .. {100 * row.gain.high:+.1f}",
        "seeds": str(len(row.finals)),
        "budget": f"{BUDGET} of {BATCH}, {seconds:.0f} s; a step costs {row.step_cost:.2f} times "
        "as much",
        "hardware": f"one core of an {machine().split(',')[0]}, bfloat16",
        "command": "python benchmarks/cifar_methods.py",
        "date": time.strftime("%Y-%m-%d"),
    }
    return "\n".join([f"[[{name}]]", *(f'{k} = "{v}"' for k, v in values.items()), ""])


if __name__ == "__main__":
    main()
