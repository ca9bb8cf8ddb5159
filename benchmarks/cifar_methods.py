"""Does it help? Methods on against off on CIFAR-10, at a short fixed budget.

A ResNet-9 of width 8 trains for three epochs of 20,000 images with SGD in bfloat16, on one thread;
about half a minute of a processor. Each method is switched on alone, five seeds each, paired. The
runs are kept in ``--folder``; started again, it goes on with those that are missing.

It ends with the rows for ``docs/methods/measured.toml``.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from _cifar import Images, add_data_argument, make_model, read_cifar
from _loops import machine
from _rows import Task, rows_of

from composer import Trainer
from composer.ablation import Ablation
from composer.ablation.arms import Arm, Method
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
from composer.optim import LinearWithWarmupScheduler, Muon

WIDTH, TRAIN, TEST, BATCH, EPOCHS = 8, 20_000, 5_000, 128, 3
BUDGET = f"{EPOCHS * (TRAIN // BATCH)}ba"
METRIC = "MulticlassAccuracy"
TASK = Task(
    workload=f"CIFAR-10, ResNet-9 of width {WIDTH}, {TRAIN} images",
    metric="test accuracy, %",
    budget=f"{BUDGET} of {BATCH}",
    command="python benchmarks/cifar_methods.py",
    scale=100,
)

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
    print(machine(), rows_of(report, METHODS, TASK, {"Muon": MUON}), sep="\n")


if __name__ == "__main__":
    main()
