"""Programs of users, as they stand; the first word says which one to run."""

from __future__ import annotations

import sys
from typing import Any

import torch
import wandb

from composer import Callback, Logger, State, Trainer
from composer.loggers import WandBLogger
from composer.models import ComposerClassifier


def parts(max_duration: str = "2ep") -> dict[str, Any]:
    """Return model and data: 8 x 8 pictures that are dark or bright on one side."""
    torch.manual_seed(0)
    targets = torch.arange(20) % 2
    images = torch.rand(20, 1, 8, 8) * 0.5
    images[targets == 1, :, :, :4] += 0.5
    dataset = torch.utils.data.TensorDataset(images, targets)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
    return {
        "model": ComposerClassifier(net, num_classes=2),
        "train_dataloader": torch.utils.data.DataLoader(dataset, batch_size=4),
        "eval_dataloader": torch.utils.data.DataLoader(dataset, batch_size=8),
        "optimizers": torch.optim.SGD(net.parameters(), lr=0.1),
        "max_duration": max_duration,
        "progress_bar": False,
        "device": "cpu",
    }


class LogPredictions(Callback):
    def __init__(self, num_samples=100, seed=1234):
        super().__init__()
        self.num_samples = num_samples
        self.data = []

    def eval_batch_end(self, state: State, logger: Logger):
        """Compute predictions per batch and stores them on self.data"""
        if state.timer.epoch == state.max_duration:  # noqa: SIM102 - as users have it
            if len(self.data) < self.num_samples:
                n = self.num_samples
                x, y = state.batch_pair
                outputs = state.outputs.argmax(-1)
                data = [
                    [wandb.Image(x_i), y_i, y_pred]
                    for x_i, y_i, y_pred in list(zip(x[:n], y[:n], outputs[:n]))  # noqa: B905
                ]
                self.data += data

    def eval_end(self, state: State, logger: Logger):
        with wandb.init() as run:
            columns = ["image", "ground truth", "prediction"]
            table = wandb.Table(columns=columns, data=self.data[: self.num_samples])
            run.log({"sample_table": table}, step=int(state.timer.batch))


def plain() -> None:
    trainer = Trainer(**parts(), logger=WandBLogger())
    trainer.fit()


def artifacts() -> None:
    wandb_logger = WandBLogger(project="gpt-5", log_artifacts=True)
    trainer = Trainer(**parts(), logger=wandb_logger, save_folder="checkpoints")
    trainer.fit()


def options() -> None:
    init_kwargs = {
        "notes": "higher learning rate in this experiment",
        "config": {"arch": "Llama", "use_mixed_precision": True},
    }
    wandb_logger = WandBLogger(log_artifacts=True, init_kwargs=init_kwargs)
    trainer = Trainer(**parts(), logger=wandb_logger)
    trainer.fit()


def predictions() -> None:
    trainer = Trainer(
        **parts("3ep"), eval_interval="1ep", loggers=[WandBLogger()], callbacks=[LogPredictions()]
    )
    trainer.fit()


if __name__ == "__main__":
    {each.__name__: each for each in (plain, artifacts, options, predictions)}[sys.argv[1]]()
