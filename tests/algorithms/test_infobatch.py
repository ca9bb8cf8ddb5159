"""Learnt samples are left out of epochs, and gradients are expected to be what they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from composer.algorithms.batch_size_schedule import BatchSizeSchedule
from composer.algorithms.infobatch import InfoBatch, prune_samples
from composer.algorithms.selective_backprop import SelectiveBackprop
from composer.core.algorithm import Algorithm
from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.data.image_loader import DeviceImageLoader
from composer.distributed import comm
from composer.errors import ConfigError, DataError
from composer.models.base import ComposerModel
from composer.models.tasks.classification import ComposerClassifier
from composer.optim.curves import LinearScheduler
from composer.testing.verify import verify_resume
from composer.trainer.trainer import Trainer
from tests._dist import run_ranks
from tests.algorithms._runs import Memory

COUNT, SIZE = 60, 5


class Indexed(Dataset[Any]):
    """Inputs, of which the last entry is the index, and classes."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(COUNT, 6, generator=generator)
        self.classes = (self.inputs[:, 0] > 0).long()
        self.inputs[:, -1] = torch.arange(COUNT)

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.inputs[index], self.classes[index]


class FirstFive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs[:, :5])


class Seen(Callback):
    """The indices of each epoch's samples, and the losses that were trained on."""

    def __init__(self) -> None:
        self.epochs: list[list[int]] = []
        self.rates: list[float] = []

    def epoch_start(self, state: State, logger: Logger) -> None:
        self.epochs.append([])

    def batch_start(self, state: State, logger: Logger) -> None:
        self.epochs[-1] += state.batch[0][:, -1].int().tolist()
        self.rates.append(state.optimizers[0].param_groups[0]["lr"])


def loader(**keywords: Any) -> DataLoader[Any]:
    data = Indexed()
    return DataLoader(data, SIZE, sampler=comm.get_sampler(data, shuffle=True), **keywords)


def make_trainer(
    method: Algorithm | list[Algorithm] | None = None, duration: str = "8ep", **keywords: Any
) -> Trainer:
    torch.manual_seed(0)
    model = ComposerClassifier(FirstFive(), num_classes=2)
    given: dict[str, Any] = {
        "model": model,
        "train_dataloader": loader(),
        "optimizers": torch.optim.SGD(model.parameters(), lr=0.1),
        "max_duration": duration,
        "algorithms": method or InfoBatch(),
        "progress_bar": False,
        "device": "cpu",
        "seed": 1,
    }
    return Trainer(**given | keywords)


def fitted(method: InfoBatch | None = None, **keywords: Any) -> tuple[Trainer, Seen, Memory]:
    seen, memory = Seen(), Memory()
    trainer = make_trainer(method, callbacks=seen, loggers=memory, **keywords)
    trainer.fit()
    return trainer, seen, memory


def test_learnt_samples_stay_with_the_chance_that_is_given() -> None:
    is_learnt = np.arange(10000) % 2 == 0
    kept = prune_samples(is_learnt, 0.3, epoch=4)
    assert set(np.flatnonzero(~is_learnt)) <= set(kept)
    assert (len(kept) - 5000) / 5000 == pytest.approx(0.7, abs=0.03)
    others = prune_samples(is_learnt, 0.3, epoch=5)
    both = np.intersect1d(kept, others)
    assert (len(both) - 5000) / 5000 == pytest.approx(0.49, abs=0.03)
    assert (prune_samples(is_learnt, 0.3, epoch=4) == kept).all()


def test_the_first_and_the_last_epochs_are_whole_and_those_between_are_not() -> None:
    trainer, seen, memory = fitted()
    sizes = [len(set(epoch)) for epoch in seen.epochs]
    assert sizes[0] == sizes[7] == COUNT
    assert all(COUNT / 2 < size < COUNT for size in sizes[1:7])
    assert all(len(set(epoch)) == len(epoch) for epoch in seen.epochs)
    kept = [m["infobatch/kept"] for m in memory.metrics if "infobatch/kept" in m]
    assert kept == pytest.approx([size / COUNT for size in sizes])
    assert trainer.state.timestamp.sample == sum(sizes)


def test_samples_with_a_loss_above_the_mean_are_never_left_out() -> None:
    method = InfoBatch()
    trainer, seen, _ = fitted(method, duration="1ep")
    assert method._losses is not None
    losses = method._losses.clone()
    trainer.fit(duration="1ep")
    above = set(torch.nonzero(losses >= losses.mean()).flatten().tolist())
    assert above <= set(seen.epochs[1])
    assert len(seen.epochs[1]) < COUNT


def test_each_sample_keeps_its_own_last_loss() -> None:
    method = InfoBatch()
    torch.manual_seed(0)
    model = ComposerClassifier(FirstFive(), num_classes=2)
    still = torch.optim.SGD(model.parameters(), lr=0.0)
    keywords: dict[str, Any] = {"model": model, "optimizers": still, "duration": "1ep"}
    fitted(method, device_train_microbatch_size=2, **keywords)
    data = Indexed()
    losses = F.cross_entropy(model.module(data.inputs), data.classes, reduction="none")
    torch.testing.assert_close(method._losses, losses.detach())


def test_an_epochs_gradients_are_expected_to_be_those_of_all_samples() -> None:
    losses = torch.rand(20000, generator=torch.Generator().manual_seed(0))
    is_learnt = losses < losses.mean()
    kept = torch.from_numpy(prune_samples(is_learnt.numpy(), 0.4, epoch=1))
    weighted = losses[kept] * torch.where(is_learnt[kept], 1 / 0.6, 1.0)
    assert weighted.sum().item() == pytest.approx(losses.sum().item(), rel=0.01)


def test_learnt_samples_that_stay_weigh_more() -> None:
    method = InfoBatch(prune_ratio=0.75)
    trainer = make_trainer(method, duration="1ep")
    trainer.fit()
    state = trainer.state
    state.max_duration = "10ep"
    method.plan(state, trainer.logger)
    assert method._is_learnt is not None
    indices = torch.arange(SIZE)
    method._indices, method._batch_weights = indices, method._weights[indices]
    method._begin(state)
    state.batch = tuple(part[:SIZE] for part in (Indexed().inputs, Indexed().classes))
    state.outputs = state.model(state.batch)
    method.weigh(state, trainer.logger)
    losses = F.cross_entropy(state.outputs, state.batch[1], reduction="none")
    weights = torch.where(method._is_learnt[indices], 4.0, 1.0)
    assert 1.0 < weights.mean() < 4.0
    torch.testing.assert_close(state.loss, (losses * weights).mean())


def test_schedules_of_the_learning_rate_end_with_the_run() -> None:
    schedule = LinearScheduler(alpha_i=1.0, alpha_f=0.0, t_max="1dur")
    trainer, seen, _ = fitted(schedulers=schedule)
    num_batches = [len(epoch) // SIZE + (len(epoch) % SIZE > 0) for epoch in seen.epochs]
    starts = np.cumsum([0, *num_batches[:-1]])
    rates = [seen.rates[start] for start in starts]
    assert rates == pytest.approx([0.1 * (1 - epoch / 8) for epoch in range(8)])
    assert trainer.state.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-6)
    assert trainer.state.timestamp.batch == sum(num_batches) < 8 * COUNT / SIZE


def test_evaluating_in_a_pruned_epoch_changes_nothing() -> None:
    plain, seen, _ = fitted()
    evaluated, also_seen, _ = fitted(
        eval_dataloader=DataLoader(Indexed(), SIZE, generator=torch.Generator()),
        eval_interval="5ba",
    )
    assert seen.epochs == also_seen.epochs
    for one, other in zip(
        plain.state.model.parameters(), evaluated.state.model.parameters(), strict=True
    ):
        assert torch.equal(one, other)


def test_images_on_the_device_are_left_out_too() -> None:
    images = torch.randint(256, (COUNT, 5, 5, 3), dtype=torch.uint8)
    model = ComposerClassifier(nn.Sequential(nn.Flatten(), nn.Linear(75, 2)), num_classes=2)
    data = DeviceImageLoader(images, Indexed().classes, SIZE, shuffle=True, device="cpu")
    trainer = make_trainer(
        InfoBatch(),
        model=model,
        train_dataloader=data,
        optimizers=torch.optim.SGD(model.parameters(), lr=0.01),
    )
    trainer.fit()
    assert trainer.state.timestamp.epoch == 8
    assert 4 * COUNT < trainer.state.timestamp.sample < 8 * COUNT


def scheduled_trainer(num_workers: int = 0) -> Trainer:
    return make_trainer(
        InfoBatch(prune_ratio=0.7),
        train_dataloader=loader(num_workers=num_workers),
        schedulers=LinearScheduler(),
        device_train_microbatch_size=2,
        duration="4ep",
    )


def test_a_run_resumes_exactly_in_whole_and_in_pruned_epochs_and_between() -> None:
    stops = ["5ba", "1ep", "15ba", "2ep", "27ba"]
    verify_resume(scheduled_trainer, interrupt_at=stops).require()


@pytest.mark.full
def test_a_run_with_workers_resumes_exactly() -> None:
    verify_resume(lambda: scheduled_trainer(2), interrupt_at=["15ba"]).require()


def _losses_on_a_rank() -> tuple[list[list[int]], Tensor]:
    method = InfoBatch()
    _, seen, _ = fitted(method, duration="3ep")
    assert method._losses is not None
    return seen.epochs, method._losses


def test_ranks_know_all_losses_and_leave_out_the_same() -> None:
    (first, losses), (second, other_losses) = run_ranks(2, _losses_on_a_rank)
    assert torch.equal(losses, other_losses)
    assert not losses.isnan().any()
    together = {*first[2], *second[2]}
    assert COUNT / 2 < len(together) < COUNT
    assert len(first[2]) == len(second[2])


class NoReduction(ComposerClassifier):
    def loss(self, outputs: Tensor, batch: Any) -> Tensor:  # pyright: ignore
        return F.cross_entropy(outputs, batch[1])


class OneNumber(ComposerClassifier):
    def loss(self, outputs: Tensor, batch: Any, *args: Any, **kwargs: Any) -> Tensor:
        return F.cross_entropy(outputs, batch[1])


def fit_model(model: ComposerModel) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    make_trainer(model=model, optimizers=optimizer).fit()


def test_a_model_without_a_loss_for_each_sample_is_refused() -> None:
    with pytest.raises(ConfigError, match="InfoBatch needs the loss of each sample"):
        fit_model(NoReduction(FirstFive(), num_classes=2))
    with pytest.raises(DataError, match="one loss for each sample"):
        fit_model(OneNumber(FirstFive(), num_classes=2))


def test_a_loader_that_cannot_leave_samples_out_is_refused() -> None:
    batches = list(loader())
    for data in (batches, DataLoader(Indexed(), SIZE, shuffle=True)):
        with pytest.raises(ConfigError, match="get_sampler"):
            make_trainer(train_dataloader=data).fit()


def test_other_data_than_before_are_refused() -> None:
    method = InfoBatch()
    fitted(method, duration="1ep")
    fewer = TensorDataset(*(part[:20] for part in (Indexed().inputs, Indexed().classes)))
    data = DataLoader(fewer, SIZE, sampler=comm.get_sampler(fewer))
    with pytest.raises(DataError, match="losses of 60 samples, and the data set has 20"):
        make_trainer(method, train_dataloader=data).fit()


def test_methods_that_change_which_samples_a_batch_has_are_refused() -> None:
    methods: list[Algorithm] = [InfoBatch(), SelectiveBackprop(start=0.0, keep=0.5, interrupt=0)]
    with pytest.raises(DataError, match="nothing else may add"):
        make_trainer(methods).fit()


def test_batches_that_are_cut_into_steps_are_refused() -> None:
    methods: list[Algorithm] = [InfoBatch(), BatchSizeSchedule(["2ba"])]
    with pytest.raises(ConfigError, match=r"BatchSizeSchedule.*use one of them"):
        make_trainer(methods).fit()


@pytest.mark.parametrize(
    "wrong", [{"prune_ratio": 1.0}, {"prune_ratio": -0.1}, {"anneal_start": 1.5}]
)
def test_arguments_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        InfoBatch(**wrong)  # pyright: ignore[reportArgumentType]
