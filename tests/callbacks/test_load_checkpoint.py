"""Loading a second checkpoint."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import torch

from composer.callbacks.load_checkpoint import LoadCheckpoint
from composer.core.event import Event
from composer.errors import ArgumentTypeError
from composer.models.tasks.classification import ComposerClassifier
from composer.trainer.trainer import Trainer


def make_trainer(seed: int, **kwargs: Any) -> Trainer:
    torch.manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    model = ComposerClassifier(net, num_classes=2)
    return Trainer(
        model=model,
        train_dataloader=[(torch.ones(2, 2), torch.tensor([0, 1]))],
        max_duration="1ep",
        optimizers=torch.optim.SGD(model.parameters(), lr=0.0),
        device="cpu",
        progress_bar=False,
        **kwargs,
    )


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    trainer = make_trainer(1)
    trainer.fit()
    return str(trainer.save_checkpoint(str(tmp_path / "a.pt")))


def weight(trainer: Trainer, index: int) -> torch.Tensor:
    return trainer.state.model.module[index].weight


@pytest.mark.parametrize("event", [Event.BEFORE_LOAD, "after_load", Event.FIT_START])
def test_weights_are_loaded_at_the_event(path: str, event: Any) -> None:
    trainer = make_trainer(2, callbacks=LoadCheckpoint(path, load_weights_only=True, event=event))
    trainer.fit()
    assert torch.equal(weight(trainer, 0), weight(make_trainer(1), 0))
    assert trainer.state.timestamp.batch == 1


def test_parts_may_be_left_out(path: str) -> None:
    callback = LoadCheckpoint(path, True, True, ["state/model/module.1.*"])
    trainer = make_trainer(2, callbacks=callback)
    assert torch.equal(weight(trainer, 0), weight(make_trainer(1), 0))
    assert torch.equal(weight(trainer, 1), weight(make_trainer(2), 1))


def test_it_loads_once(path: str) -> None:
    callback = LoadCheckpoint(path, load_weights_only=True, event=Event.FIT_START)
    trainer = make_trainer(2, callbacks=callback)
    trainer.fit()
    with torch.no_grad():
        weight(trainer, 0).zero_()
    trainer.fit(duration="1ep")
    assert bool((weight(trainer, 0) == 0).all())


def test_wrong_filters_are_refused_at_once() -> None:
    with pytest.raises(ArgumentTypeError, match="ignore_keys"):
        LoadCheckpoint("a.pt", ignore_keys="state/model")  # pyright: ignore[reportArgumentType]
