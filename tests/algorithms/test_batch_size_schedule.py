"""Batches that are cut into several steps of the optimizer, fewer as training goes on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from composer.algorithms.batch_size_schedule import BatchSizeSchedule, lr_factor
from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.distributed import comm
from composer.errors import ArgumentTypeError, ConfigError, DataError
from composer.trainer.trainer import Trainer
from tests._dist import run_ranks
from tests.algorithms._runs import Memory, classifier, image_batch

NUM_BATCHES, SIZE = 4, 8


def batches() -> list[Any]:
    images, labels = image_batch(NUM_BATCHES * SIZE)
    return list(zip(images.split(SIZE), labels.split(SIZE), strict=True))


class Steps(Callback):
    """Notes, at each step of the optimizer, the rate and the samples it is made from."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.rates: list[float] = []
        self.sizes: list[int] = []
        self.between: list[float] = []
        self._optimizer = optimizer

    def fit_start(self, state: State, logger: Logger) -> None:
        note = lambda optimizer, *_: self.rates.append(optimizer.param_groups[0]["lr"])  # noqa: E731
        self._optimizer.register_step_pre_hook(note)

    def after_train_batch(self, state: State, logger: Logger) -> None:
        self.sizes.append(len(state.batch[0]))

    def batch_end(self, state: State, logger: Logger) -> None:
        self.between.append(self._optimizer.param_groups[0]["lr"])


def run(method: BatchSizeSchedule | None, **keywords: Any) -> tuple[Trainer, Steps, Memory]:
    torch.manual_seed(0)
    model = classifier().eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    steps, memory = Steps(optimizer), Memory()
    given: dict[str, Any] = {
        "model": model,
        "train_dataloader": batches(),
        "optimizers": optimizer,
        "max_duration": f"{NUM_BATCHES}ba",
        "callbacks": steps,
        "loggers": memory,
        "progress_bar": False,
        "device": "cpu",
        "algorithms": method,
        "seed": 1,
    }
    trainer = Trainer(**given | keywords)
    trainer.fit()
    return trainer, steps, memory


def test_batches_are_cut_into_fewer_steps_after_each_milestone() -> None:
    _, steps, memory = run(BatchSizeSchedule(["0.25dur", "0.75dur"]))
    assert steps.sizes == [2, 2, 2, 2, 4, 4, 4, 4, 8]
    logged = [m for m in memory.metrics if "batch_size_schedule/steps_per_batch" in m]
    assert [m["batch_size_schedule/steps_per_batch"] for m in logged] == [4, 2, 2, 1]
    assert [m["batch_size_schedule/lr_factor"] for m in logged] == pytest.approx(
        [0.5, 0.5**0.5, 0.5**0.5, 1.0]
    )


def test_it_trains_as_a_loop_by_hand_does() -> None:
    trainer, _, _ = run(BatchSizeSchedule(["2ba"], factor=4, lr_scaling="linear"))
    torch.manual_seed(0)
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for number, (images, labels) in enumerate(batches()):
        size = 2 if number < 2 else SIZE
        for part in zip(images.split(size), labels.split(size), strict=True):
            optimizer.zero_grad()
            model.loss(model(part), part).backward()
            optimizer.param_groups[0]["lr"] = 0.1 * size / SIZE
            optimizer.step()
    for own, by_hand in zip(trainer.state.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(own, by_hand)


def test_time_counts_the_batches_and_samples_of_the_loader() -> None:
    trainer, _, memory = run(BatchSizeSchedule(["2ba", "3ba"]))
    assert trainer.state.timestamp.batch == NUM_BATCHES
    assert trainer.state.timestamp.sample == NUM_BATCHES * SIZE
    losses = [m["loss/train/total"] for m in memory.metrics if "loss/train/total" in m]
    assert len(losses) == NUM_BATCHES


def test_the_rate_is_scaled_while_the_optimizer_steps_and_not_in_between() -> None:
    # Torch's schedule multiplies the rate it finds.
    def steps_with(method: BatchSizeSchedule | None) -> Steps:
        torch.manual_seed(0)
        model = classifier()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        steps = Steps(optimizer)
        run(
            method,
            model=model,
            optimizers=optimizer,
            schedulers=torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5),
            step_schedulers_every_batch=True,
            callbacks=steps,
        )
        return steps

    cut = steps_with(BatchSizeSchedule(["2ba"], factor=4))
    assert cut.between == pytest.approx([0.05, 0.025, 0.0125, 0.00625])
    assert cut.between == steps_with(None).between
    # The note is taken after the rate is scaled.
    assert cut.rates == pytest.approx([0.05] * 4 + [0.025] * 4 + [0.025, 0.0125])


def test_the_rate_may_be_a_tensor_which_stays_the_same_one() -> None:
    torch.manual_seed(0)
    model = classifier()
    rate = torch.tensor(0.1)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    run(BatchSizeSchedule(["2ba"]), model=model, optimizers=optimizer, callbacks=Steps(optimizer))
    assert optimizer.param_groups[0]["lr"] is rate
    assert float(rate) == pytest.approx(0.1)


def test_epochs_count_in_the_middle_too() -> None:
    keywords = {"train_dataloader": DataLoader(TensorDataset(*image_batch(32)), SIZE)}
    _, steps, _ = run(BatchSizeSchedule(["0.5dur"]), max_duration="1ep", **keywords)
    assert steps.sizes == [4, 4, 4, 4, 8, 8]


@pytest.mark.parametrize("milestone", ["1ep", "4ba", "32sp"])
def test_milestones_may_be_in_any_unit_of_training(milestone: str) -> None:
    _, steps, _ = run(BatchSizeSchedule([milestone]), max_duration="2ep")
    assert steps.sizes == [4] * 8 + [8] * 4


def test_microbatches_are_cut_from_the_parts() -> None:
    def weight(**keywords: Any) -> Tensor:
        torch.manual_seed(0)
        layer = nn.Linear(3 * 16 * 16, 4)
        model = classifier(nn.Sequential(nn.Flatten(), layer))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        method, steps = BatchSizeSchedule(["2ba"]), Steps(optimizer)
        run(method, model=model, optimizers=optimizer, callbacks=steps, **keywords)
        return layer.weight.detach()

    torch.testing.assert_close(weight(), weight(device_train_microbatch_size=3))


def test_batches_smaller_than_the_number_of_steps_are_refused() -> None:
    loader = DataLoader(TensorDataset(*image_batch(8)), 2)
    with pytest.raises(ConfigError, match="cuts batches into 4 steps, and the loader's have 2"):
        run(BatchSizeSchedule(), train_dataloader=loader)


@pytest.mark.parametrize(
    "wrong",
    [
        {"milestones": []},
        {"milestones": "0.1dur"},
        {"milestones": ["0.3dur", "0.1dur"]},
        {"milestones": ["0ba"]},
        {"milestones": ["1ba", "1ep"]},
        {"milestones": ["1s"]},
        {"factor": 1},
        {"lr_scaling": "cubic"},
    ],
)
def test_arguments_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        BatchSizeSchedule(**wrong)


def test_half_a_factor_is_refused() -> None:
    with pytest.raises(ArgumentTypeError):
        BatchSizeSchedule(factor=2.5)  # pyright: ignore[reportArgumentType]


def test_the_rate_follows_the_rule() -> None:
    assert [lr_factor(9, rule) for rule in ("sqrt", "linear", None)] == pytest.approx(
        [1 / 3, 1 / 9, 1]
    )


def _train_on_uneven_batches() -> str:
    size = 4 if comm.get_global_rank() == 0 else 2
    images, labels = image_batch(size)
    with pytest.raises(DataError) as raised:
        run(
            BatchSizeSchedule(["2ba"], factor=4),
            train_dataloader=[(images, labels)],
            max_duration="1ba",
        )
    return str(raised.value)


def test_ranks_that_would_take_different_numbers_of_steps_are_refused() -> None:
    assert all(
        "enough samples for 2 to 4" in text for text in run_ranks(2, _train_on_uneven_batches)
    )
