"""An epoch that goes on among another number of ranks consumes every sample exactly once."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.distributed import comm
from tests._dist import run_ranks
from tests.trainer._runs import classifier, make_trainer, samples, sgd

NUM_SAMPLES = 132  # 4 ranks x 3 batches, 2 ranks x 6 batches, 3 ranks x 4 batches, of 3 samples
BATCH_SIZE = 3


class Seen(Callback):
    """Keeps which samples were trained on."""

    def __init__(self) -> None:
        self.samples: list[int] = []

    def batch_start(self, state: State, logger: Logger) -> None:
        self.samples += state.batch[0][:, 0].round().long().tolist()


def train(folder: str, duration: str) -> tuple[list[int], int, list[float]]:
    inputs, targets = samples(NUM_SAMPLES)
    inputs[:, 0] = torch.arange(NUM_SAMPLES)
    dataset = TensorDataset(inputs, targets)
    sampler = comm.get_sampler(dataset, shuffle=True, seed=9)
    loader: Any = DataLoader(dataset, BATCH_SIZE, sampler=sampler)
    seen = Seen()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the checkpoint was written by")
        model = classifier()
        trainer = make_trainer(
            model=model,
            optimizers=sgd(model),
            train_dataloader=loader,
            max_duration=duration,
            callbacks=[seen],
            save_folder=folder,
            save_interval="3ba",
            autoresume=True,
            run_name="run",
        )
    trainer.fit()
    trainer.close()
    now = trainer.state.timestamp
    return seen.samples, now.epoch.value, torch.rand(2).tolist()


def test_four_then_two_then_three_ranks_train_on_every_sample_once(tmp_path: Path) -> None:
    trained: list[int] = []
    for ranks, duration in ((4, "3ba"), (2, "9ba"), (3, "1ep")):
        results = run_ranks(ranks, train, str(tmp_path), duration, timeout_s=120)
        for seen, _, _ in results:
            trained += seen
        # Numbers drawn after resuming are not those of the start over again, nor those of a peer.
        assert len({tuple(random) for _, _, random in results}) == ranks
    assert {epoch for _, epoch, _ in results} == {1}
    assert Counter(trained) == Counter(range(NUM_SAMPLES))
