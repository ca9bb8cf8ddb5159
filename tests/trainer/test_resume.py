"""A run that is interrupted and resumed is the same run, to the bit."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from composer.algorithms.ema import EMA
from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import CorruptCheckpointError
from composer.loggers.in_memory_logger import InMemoryLogger
from composer.models.tasks.classification import ComposerClassifier
from composer.optim.curves import CosineAnnealingScheduler
from composer.optim.decoupled_weight_decay import DecoupledAdamW, DecoupledSGDW
from composer.trainer.resume import find_latest
from composer.trainer.trainer import Trainer

NUM_BATCHES = 5


class Interrupted(Exception):
    """Stands for whatever ends a run before its time."""


class Losses(Callback):
    """Keeps each batch's loss, and interrupts the run once, before a batch or an epoch's end."""

    def __init__(self, stop_after: int | None) -> None:
        self.values: list[float] = []
        self.stop_after = stop_after

    def before_dataloader(self, state: State, logger: Logger) -> None:
        if state.timestamp.batch == self.stop_after:
            self.stop_after = None
            raise Interrupted

    def after_loss(self, state: State, logger: Logger) -> None:
        self.values.append(state.loss.item())


def make_loader(**kwargs: Any) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(8 * NUM_BATCHES, 6, generator=generator)
    targets = torch.randint(0, 3, (8 * NUM_BATCHES,), generator=generator)
    return DataLoader(TensorDataset(inputs, targets), batch_size=8, **kwargs)


def make_trainer(
    folder: pathlib.Path,
    *,
    num_workers: int = 0,
    optimizer: str = "sgd",
    algorithms: tuple[Any, ...] = (),
    max_duration: str = "3ep",
    stop_after: int | None = None,
    **kwargs: Any,
) -> tuple[Trainer, Losses]:
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(6, 12),
        torch.nn.BatchNorm1d(12),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.3),
        torch.nn.Linear(12, 3),
    )
    model = ComposerClassifier(net, num_classes=3)
    losses = Losses(stop_after)
    trainer = Trainer(
        model=model,
        train_dataloader=make_loader(shuffle=True, num_workers=num_workers),
        max_duration=max_duration,
        optimizers=(
            DecoupledSGDW(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
            if optimizer == "sgd"
            else DecoupledAdamW(model.parameters(), lr=0.01)
        ),
        schedulers=CosineAnnealingScheduler(),
        algorithms=list(algorithms),
        callbacks=[losses],
        save_folder=str(folder),
        save_interval="1ba",
        device="cpu",
        seed=7,
        run_name="run",
        progress_bar=False,
        **kwargs,
    )
    return trainer, losses


def final(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Return everything that training has left behind, as tensors by name."""
    state = trainer.state
    found = {f"model/{name}": tensor for name, tensor in state.model.state_dict().items()}
    for name, tensor in state.model.named_parameters():
        entries = state.optimizers[0].state[tensor]
        found.update({f"optimizer/{name}/{key}": torch.as_tensor(v) for key, v in entries.items()})
    found["lr"] = torch.tensor(state.optimizers[0].param_groups[0]["lr"])
    found["rng"] = torch.get_rng_state()
    for algorithm in state.algorithms:
        found.update(algorithm.state_dict().get("weights", {}))
    return {name: tensor.clone() for name, tensor in found.items()}


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    different = [name for name, tensor in one.items() if not torch.equal(tensor, other[name])]
    assert different == []


def straight_run(folder: pathlib.Path, **kwargs: Any) -> tuple[dict[str, torch.Tensor], Losses]:
    trainer, losses = make_trainer(folder, **kwargs)
    trainer.fit()
    found = final(trainer)
    trainer.close()
    return found, losses


def resumed_run(
    folder: pathlib.Path, path: str, **kwargs: Any
) -> tuple[dict[str, torch.Tensor], Losses]:
    return straight_run(folder, load_path=path, **kwargs)


CASES: dict[str, dict[str, Any]] = {
    "momentum, schedule": {},
    "adam": {"optimizer": "adam"},
    "two workers": {"num_workers": 2},
    "microbatches": {"device_train_microbatch_size": 3},
}


@pytest.mark.parametrize("case", CASES)
def test_resumed_equals_straight_to_the_bit(case: str, tmp_path: pathlib.Path) -> None:
    straight, losses = straight_run(tmp_path / "straight", **CASES[case])
    # In the middle of an epoch, after its last batch, and at the first of the next.
    for name, done in (("ep0-ba2", 2), ("ep0-ba5", 5), ("ep1-ba6", 6), ("ep2-ba13", 13)):
        path = str(tmp_path / "straight" / f"{name}-rank0.pt")
        resumed, rest = resumed_run(tmp_path / name, path, **CASES[case])
        assert_same(straight, resumed)
        per_batch = len(losses.values) // (3 * NUM_BATCHES)
        assert rest.values == losses.values[done * per_batch :]


def test_averaged_weights_go_on_to_the_bit(tmp_path: pathlib.Path) -> None:
    def average() -> tuple[Any, ...]:
        return (EMA(half_life="4ba"),)

    straight, _ = straight_run(tmp_path / "straight", algorithms=average())
    for name in ("ep0-ba3", "ep1-ba10"):
        path = str(tmp_path / "straight" / f"{name}-rank0.pt")
        resumed, _ = resumed_run(tmp_path / name, path, algorithms=average())
        assert_same(straight, resumed)


def test_a_checkpoint_between_epochs_goes_on_to_the_bit(tmp_path: pathlib.Path) -> None:
    trainer, _ = make_trainer(tmp_path / "straight")
    trainer.fit(duration="1ep")
    path = trainer.save_checkpoint(str(tmp_path / "between"))
    trainer.fit(duration="2ep")
    straight = final(trainer)
    trainer.close()
    resumed, _ = resumed_run(tmp_path / "resumed", str(path))
    assert_same(straight, resumed)


def test_evaluation_in_between_changes_nothing(tmp_path: pathlib.Path) -> None:
    def evaluated() -> dict[str, Any]:
        return {"eval_dataloader": make_loader(), "eval_interval": "2ba"}

    straight, _ = straight_run(tmp_path / "straight", **evaluated())
    path = str(tmp_path / "straight" / "ep1-ba7-rank0.pt")
    resumed, _ = resumed_run(tmp_path / "resumed", path, **evaluated())
    assert_same(straight, resumed)


def test_three_interruptions_with_autoresume_leave_no_trace(tmp_path: pathlib.Path) -> None:
    straight, losses = straight_run(tmp_path / "straight")
    seen: list[float] = []
    for stop in (2, 5, 9, None):
        trainer, rest = make_trainer(tmp_path / "run", autoresume=True, stop_after=stop)
        if stop is None:
            trainer.fit()
        else:
            with pytest.raises(Interrupted):
                trainer.fit()
        seen += rest.values
        resumed = final(trainer)
        trainer.close()
    assert seen == losses.values
    assert_same(straight, resumed)


@pytest.mark.parametrize("stop", [3, 5])
def test_a_fit_that_was_interrupted_goes_on_in_the_next_fit(
    tmp_path: pathlib.Path, stop: int
) -> None:
    straight, losses = straight_run(tmp_path / "straight")
    trainer, both = make_trainer(tmp_path / "run", stop_after=stop)
    with pytest.raises(Interrupted):
        trainer.fit()
    trainer.fit()
    assert both.values == losses.values
    assert_same(straight, final(trainer))
    trainer.close()


def test_autoresume_starts_afresh_where_there_is_nothing(tmp_path: pathlib.Path) -> None:
    trainer, _ = make_trainer(tmp_path / "run", autoresume=True)
    assert trainer.state.timestamp.batch == 0
    trainer.close()


def test_autoresume_wins_over_load_path(tmp_path: pathlib.Path) -> None:
    straight_run(tmp_path / "other", max_duration="1ba")
    straight_run(tmp_path / "run", max_duration="3ba")
    trainer, _ = make_trainer(
        tmp_path / "run",
        autoresume=True,
        load_path=str(tmp_path / "other" / "latest-rank0.pt"),
        load_weights_only=True,
        load_ignore_keys=["state/optimizers/*"],
    )
    assert trainer.state.timestamp.batch == 3
    assert trainer.state.optimizers[0].state
    trainer.close()


def test_without_manifests_the_newest_checkpoint_is_found_by_its_link(
    tmp_path: pathlib.Path,
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    name = "latest-rank{rank}.pt"
    assert find_latest(str(tmp_path / "{run_name}"), name, "run") is None
    (folder / "latest-rank0.pt").symlink_to("ep1-ba1-rank0.pt")
    with pytest.raises(CorruptCheckpointError, match="gone"):
        find_latest(str(tmp_path / "{run_name}"), name, "run")
    torch.save({"state": {}}, folder / "ep1-ba1-rank0.pt")
    found = find_latest(str(tmp_path / "{run_name}"), name, "run")
    assert found == str(folder / "ep1-ba1-rank0.pt")


def test_resumed_behind_an_epochs_last_batch_metrics_of_no_batch_are_not_logged(
    tmp_path: pathlib.Path,
) -> None:
    straight_run(tmp_path / "straight", max_duration="1ep")
    memory = InMemoryLogger()
    path = str(tmp_path / "straight" / "ep0-ba5-rank0.pt")
    straight_run(tmp_path / "resumed", load_path=path, max_duration="1ep", loggers=[memory])
    assert not [name for name in memory.data if name.startswith("metrics/train")]
