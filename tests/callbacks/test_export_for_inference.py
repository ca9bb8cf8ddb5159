"""Exporting at the end of training, and through the Trainer."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import torch

from composer.algorithms.ema import EMA
from composer.callbacks.export_for_inference import ExportForInferenceCallback
from composer.errors import ConfigError
from composer.models.tasks.classification import ComposerClassifier
from composer.trainer.trainer import Trainer


def make_trainer(**kwargs: Any) -> Trainer:
    torch.manual_seed(0)
    model = ComposerClassifier(torch.nn.Linear(4, 2), num_classes=2)
    batches = [(torch.randn(3, 4), torch.zeros(3, dtype=torch.int64)) for _ in range(2)]
    return Trainer(
        model=model,
        train_dataloader=batches,
        max_duration="1ep",
        optimizers=torch.optim.SGD(model.parameters(), lr=0.5),
        device="cpu",
        progress_bar=False,
        **kwargs,
    )


def run(path: pathlib.Path, batch: Any) -> torch.Tensor:
    return torch.export.load(str(path)).module()(batch)


def test_the_trained_model_is_exported_at_the_end(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "model.pt2"
    trainer = make_trainer(callbacks=ExportForInferenceCallback("torch_export", str(path)))
    trainer.fit()
    batch = torch.randn(5, 4), torch.zeros(5, dtype=torch.int64)
    expected = trainer.state.model.eval()(batch)
    assert torch.allclose(run(path, batch), expected, atol=1e-6)


def test_averaged_weights_are_exported_where_there_are_some(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "model.pt2"
    ema = EMA(half_life="1ba")
    trainer = make_trainer(algorithms=ema)
    trainer.fit()
    batch = trainer.state.batch
    trained = trainer.state.model.eval()(batch).detach().clone()
    trainer.export_for_inference("torch_export", str(path), sample_input=batch)
    assert not torch.allclose(run(path, batch), trained, atol=1e-4)
    assert torch.allclose(trainer.state.model(batch), trained)


def test_the_trainer_takes_the_last_batch_as_sample(tmp_path: pathlib.Path) -> None:
    trainer = make_trainer()
    with pytest.raises(ConfigError, match="sample_input"):
        trainer.export_for_inference("torch_export", str(tmp_path / "a.pt2"))
    trainer.fit()
    trainer.export_for_inference("torch_export", str(tmp_path / "a.pt2"))
    assert run(tmp_path / "a.pt2", trainer.state.batch).shape == (3, 2)


def test_an_unknown_format_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="onnx"):
        ExportForInferenceCallback("pickle", "a.pkl")
