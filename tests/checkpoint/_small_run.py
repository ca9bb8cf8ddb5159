"""A run that saves after every batch, for tests and for the processes they start."""

from __future__ import annotations

import errno
import pathlib
import resource
import signal
import sys
import time
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

from composer.callbacks.checkpoint_saver import CheckpointSaver
from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.models.tasks.classification import ComposerClassifier
from composer.trainer.trainer import Trainer

SERIES = "ba{batch}.pt"
NUM_BATCHES = 20


DISK_FULL = 17
"""The code with which a process ends that could not save."""


class Slow(Callback):
    """Waits after each batch."""

    def __init__(self, wait_s: float) -> None:
        self.wait_s = wait_s

    def batch_end(self, state: State, logger: Logger) -> None:
        time.sleep(self.wait_s)


def make_trainer(folder: pathlib.Path, **kwargs: Any) -> Trainer:
    """Make a run of 20 batches with momentum and dropout that goes on where it stopped."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(6, 64), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(64, 3)
    )
    model = ComposerClassifier(net, num_classes=3)
    generator = torch.Generator().manual_seed(1)
    data = TensorDataset(
        torch.randn(8 * NUM_BATCHES, 6, generator=generator),
        torch.randint(0, 3, (8 * NUM_BATCHES,), generator=generator),
    )
    saver = CheckpointSaver(
        folder,
        SERIES,
        latest_filename="latest.pt",
        save_interval="1ba",
        with_safetensors=kwargs.pop("with_safetensors", False),
        save_async=kwargs.pop("save_async", True),
    )
    kwargs.setdefault("max_duration", f"{NUM_BATCHES}ba")
    return Trainer(
        model=model,
        train_dataloader=DataLoader(data, batch_size=8, shuffle=True),
        optimizers=torch.optim.Adam(model.parameters(), lr=0.01),
        callbacks=[*kwargs.pop("callbacks", []), saver],
        autoresume=True,
        device="cpu",
        seed=7,
        run_name="run",
        progress_bar=False,
        **kwargs,
    )


def weights_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Return weights and the optimizer's averages, by name."""
    found = {f"model/{k}": v.clone() for k, v in trainer.state.model.state_dict().items()}
    for name, parameter in trainer.state.model.named_parameters():
        entries = trainer.state.optimizers[0].state[parameter]
        found.update({f"{name}/{key}": torch.as_tensor(v).clone() for key, v in entries.items()})
    found["rng"] = torch.get_rng_state()
    return found


def train(folder: pathlib.Path, wait_s: float = 0.0) -> None:
    """Train to the end, in a process of its own."""
    torch.set_num_threads(1)
    trainer = make_trainer(folder, callbacks=[Slow(wait_s)])
    if not trainer.state.is_training_done:
        trainer.fit()


def train_until_the_disk_is_full(folder: pathlib.Path, limit: int) -> None:
    """Train where no file may become larger than ``limit`` bytes: writing meets a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    trainer = make_trainer(folder)
    start = trainer.state.timestamp.batch.value
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        trainer.fit()
    except OSError as error:
        is_next_step = trainer.state.timestamp.batch.value <= start + 2
        sys.exit(DISK_FULL if error.errno == errno.EFBIG and is_next_step else 1)
