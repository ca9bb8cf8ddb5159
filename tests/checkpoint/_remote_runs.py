"""A small run that can keep its checkpoints anywhere."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

from composer.callbacks.checkpoint_saver import CheckpointSaver
from composer.distributed import comm
from composer.models.base import ComposerModel
from composer.trainer.trainer import Trainer


class Net(ComposerModel):
    """A linear classifier with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.2))
        self.head = torch.nn.Linear(8, 3)

    def forward(self, batch: Any) -> torch.Tensor:
        return self.head(self.layers(batch[0]))

    def loss(self, outputs: Any, batch: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(outputs, batch[1])


def make_remote_trainer(**arguments: Any) -> Trainer:
    """A run of two epochs of two batches that saves at the end of each."""
    generator = torch.Generator().manual_seed(0)
    data = TensorDataset(
        torch.randn(8, 4, generator=generator), torch.randint(0, 3, (8,), generator=generator)
    )
    torch.manual_seed(1)
    model = Net()
    if "upload_timeout_s" in arguments:
        saver = CheckpointSaver(
            arguments.pop("save_folder"),
            save_interval="1ep",
            upload_timeout_in_seconds=arguments.pop("upload_timeout_s"),
        )
        arguments["callbacks"] = [arguments["callbacks"], saver]
    batch_size = arguments.pop("batch_size", 4)
    if comm.get_world_size() > 1:
        sampler = comm.get_sampler(data, shuffle=True)
        loader = DataLoader(data, batch_size=batch_size, sampler=sampler)
    else:
        loader = DataLoader(data, batch_size=batch_size, shuffle=True)
    defaults: dict[str, Any] = {
        "run_name": "run",
        "train_dataloader": loader,
        "max_duration": "2ep",
        "optimizers": torch.optim.AdamW(model.parameters(), lr=0.01),
        "save_filename": "ep{epoch}-ba{batch}-rank{rank}.pt",
        "progress_bar": False,
        "device": "cpu",
        "seed": 7,
    }
    return Trainer(model=model, **{**defaults, **arguments})
