"""Files that MosaicML Composer wrote: a run goes on from them here."""

from __future__ import annotations

import datetime
import pathlib
import random
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from torch.torch_version import TorchVersion

from composer.algorithms.ema import EMA
from composer.checkpoint.load_run import load_checkpoint, read_checkpoint
from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.devices.device_cpu import DeviceCPU
from composer.models.tasks.classification import ComposerClassifier
from composer.optim.curves import CosineAnnealingScheduler
from composer.optim.decoupled_weight_decay import DecoupledSGDW
from composer.trainer.trainer import Trainer


def make_model(seed: int = 0) -> ComposerClassifier:
    torch.manual_seed(seed)
    return ComposerClassifier(torch.nn.Linear(4, 2), num_classes=2)


def composer_file(path: pathlib.Path, **changes: Any) -> dict[str, Any]:
    """Write a file in the layout and with the types that MosaicML Composer 0.2x uses."""
    weights = make_model(5).state_dict()
    names = list(weights)
    group = {
        "lr": 0.05, "momentum": 0.9, "dampening": 0, "weight_decay": 0.0, "nesterov": False,
        "maximize": False, "foreach": None, "differentiable": False, "fused": None,
        "initial_lr": 0.1, "params": names,
    }  # fmt: skip
    state = {
        "model": weights,
        "optimizers": {
            "DecoupledSGDW": {
                "state": {
                    name: {"momentum_buffer": torch.ones_like(weights[name])} for name in names
                },
                "param_groups": [group],
            }
        },
        "schedulers": {
            "LambdaLR": {
                "base_lrs": [0.1], "last_epoch": 3, "_step_count": 4, "verbose": False,
                "_get_lr_called_within_step": False, "_last_lr": [0.05], "lr_lambdas": [None],
            }
        },
        "algorithms": [
            (
                "EMA",
                {
                    "repr": "EMA(half_life='1ba',update_interval=Time(1, TimeUnit.BATCH))",
                    "ema_model": {
                        "named_parameters_dict": OrderedDict(
                            (name, torch.full_like(weights[name], 2.0)) for name in names
                        ),
                        "named_buffers_dict": OrderedDict(),
                    },
                    "ema_weights_active": False,
                    "ema_started": True,
                },
            )
        ],
        "callbacks": {"Picky": {"seen": 3}, "ProgressBarLogger": {"is_train": True}},
        "scaler": {},
        "timestamp": {
            "Timestamp": {
                "iteration": 0, "epoch": 1, "batch": 3, "sample": 12, "token": 0,
                "epoch_in_iteration": 1, "token_in_iteration": 0, "batch_in_epoch": 0,
                "sample_in_epoch": 0, "token_in_epoch": 0,
                "total_wct": datetime.timedelta(seconds=90), "iteration_wct": datetime.timedelta(0),
                "epoch_wct": datetime.timedelta(0), "batch_wct": datetime.timedelta(seconds=1),
            }
        },
        "rank_zero_seed": 17,
        "run_name": "1700000000-modest-otter",
        "dataset_state": {"train": None, "eval": {}},
        "integrations": {},
        "metadata": {
            "composer_env_info": {"composer_version": "0.28.0", "composer_commit_hash": None},
            "torch_version": TorchVersion("2.5.1+cpu"),
            "device": "cpu",
            "precision": "fp32",
            "world_size": 1,
            "device_train_microbatch_size": 4,
        },
        **changes,
    }  # fmt: skip
    rng = {
        "python": random.Random(3).getstate(),
        "numpy": np.random.RandomState(3).get_state(),
        "torch": torch.Generator().manual_seed(3).get_state(),
    }
    torch.save({"state": state, "rng": [rng]}, path)
    return state


def make_trainer(**kwargs: Any) -> Trainer:
    model = make_model()
    batches = [(torch.randn(4, 4), torch.zeros(4, dtype=torch.int64)) for _ in range(3)]
    return Trainer(
        model=model,
        train_dataloader=batches,
        max_duration="2ep",
        optimizers=DecoupledSGDW(model.parameters(), lr=0.1, momentum=0.9),
        progress_bar=False,
        device="cpu",
        **kwargs,
    )


def test_a_run_goes_on_from_a_file_of_mosaicml_composer(tmp_path: pathlib.Path) -> None:
    written = composer_file(tmp_path / "ep1.pt")
    ema = EMA(half_life="1ba")
    trainer = make_trainer(
        load_path=str(tmp_path / "ep1.pt"),
        algorithms=ema,
        schedulers=CosineAnnealingScheduler(),
    )
    state = trainer.state
    for name, weight in state.model.state_dict().items():
        assert torch.equal(weight, written["model"][name])
    buffers = [state.optimizers[0].state[p]["momentum_buffer"] for p in state.model.parameters()]
    assert all(bool((buffer == 1).all()) for buffer in buffers)
    assert (state.timestamp.epoch, state.timestamp.batch) == (1, 3)
    assert state.timestamp.total_wct == datetime.timedelta(seconds=90)
    assert state.schedulers[0].last_epoch == 3
    assert state.rank_zero_seed == 17
    trainer.fit()
    assert state.timestamp.batch == 6
    trainer.close()


def test_averages_of_its_methods_come_along(tmp_path: pathlib.Path) -> None:
    composer_file(tmp_path / "ep1.pt")
    ema = EMA(half_life="1ba")
    trainer = make_trainer(load_path=str(tmp_path / "ep1.pt"), algorithms=ema)
    shadow = ema.state_dict()["weights"]
    assert all(bool((value == 2).all()) for value in shadow.values())
    trainer.close()


def test_weights_of_a_wrapped_model_lose_the_wrappers_prefix(tmp_path: pathlib.Path) -> None:
    weights = {f"module.{name}": value for name, value in make_model(5).state_dict().items()}
    composer_file(tmp_path / "a.pt", model=weights, is_model_ddp=True)
    found = read_checkpoint(str(tmp_path / "a.pt"))["state"]["model"]
    assert set(found) == set(make_model().state_dict())


def test_keys_with_an_underscore_are_read(tmp_path: pathlib.Path) -> None:
    optimizers = {"SGD": {"state": {}, "param_groups": []}}
    composer_file(tmp_path / "a.pt", _optimizers=optimizers)
    assert read_checkpoint(str(tmp_path / "a.pt"))["state"]["optimizers"] == optimizers


class Picky(Callback):
    def __init__(self) -> None:
        self.seen = 0

    def state_dict(self) -> dict[str, Any]:
        return {"seen_batches": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen = state["seen_batches"]


def test_a_callback_that_does_not_understand_its_old_state_starts_afresh_and_says_so(
    tmp_path: pathlib.Path,
) -> None:
    composer_file(tmp_path / "a.pt", algorithms=[])
    model = make_model()
    optimizer = DecoupledSGDW(model.parameters(), lr=0.1, momentum=0.9)
    state = State(model, 1, "run", DeviceCPU(), "2ep", optimizers=optimizer, callbacks=[Picky()])
    with pytest.warns(UserWarning, match="Picky does not understand.*seen_batches"):
        load_checkpoint(str(tmp_path / "a.pt"), state, Logger(state))
    assert state.timestamp.batch == 3
