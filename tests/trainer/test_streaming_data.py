"""Data sets of mosaicml-streaming go on where they were.

The package asks for versions of its own of half the world, so it is tried where it is installed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from composer.testing.verify import verify_resume
from composer.trainer.trainer import Trainer
from tests.trainer._runs import NUM_CLASSES, NUM_FEATURES, make_trainer

streaming: Any = pytest.importorskip(
    "streaming", reason="mosaicml-streaming is not installed", exc_type=ImportError
)
clean: Any = pytest.importorskip("streaming.base.util").clean_stale_shared_memory

NUM_SAMPLES, BATCH_SIZE = 32, 4


class Pairs(streaming.StreamingDataset):
    """Samples as a classifier takes them."""

    def __getitem__(self, index: int) -> Any:
        sample = super().__getitem__(index)
        return torch.from_numpy(sample["x"].copy()), sample["y"]


@pytest.fixture
def shards(tmp_path: Path) -> str:
    generator = np.random.default_rng(0)
    columns = {"x": f"ndarray:float32:{NUM_FEATURES}", "y": "int"}
    folder = str(tmp_path / "shards")
    with streaming.MDSWriter(out=folder, columns=columns, size_limit=400) as writer:
        for index in range(NUM_SAMPLES):
            x = generator.standard_normal(NUM_FEATURES).astype("float32")
            writer.write({"x": x, "y": index % NUM_CLASSES})
    return folder


def make(folder: str, num_workers: int) -> Trainer:
    # Each life of a run begins with none of what the last has left in shared memory.
    clean()
    data = Pairs(local=folder, shuffle=True, batch_size=BATCH_SIZE)
    loader = DataLoader(data, batch_size=BATCH_SIZE, num_workers=num_workers)
    return make_trainer(train_dataloader=loader, max_duration="3ep")


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("stops", [("3ba", "8ba", "13ba"), ("1ep", "2ep")], ids=str)
def test_a_run_on_a_streaming_data_set_resumes_exactly(
    stops: tuple[str, ...], num_workers: int, shards: str
) -> None:
    verify_resume(lambda: make(shards, num_workers), interrupt_at=stops).require()


def test_a_second_fit_goes_on_in_the_middle_of_an_epoch(shards: str) -> None:
    straight = make(shards, 0)
    straight.fit()
    halved = make(shards, 0)
    halved.fit(duration="11ba")
    halved.fit(duration="13ba")
    for one, other in zip(
        straight.state.model.parameters(), halved.state.model.parameters(), strict=True
    ):
        assert torch.equal(one, other)
