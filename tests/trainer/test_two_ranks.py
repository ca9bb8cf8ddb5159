"""Two ranks train like one process on the same global batches, also where shares are unequal."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from composer.core.callback import Callback
from composer.core.evaluator import Evaluator
from composer.core.logger import Logger
from composer.core.state import State
from composer.distributed import comm
from tests._dist import run_ranks
from tests.trainer._runs import (
    TokenModel,
    assert_close,
    assert_same,
    classifier,
    fitted,
    make_trainer,
    norm_classifier,
    samples,
    sgd,
    token_batches,
    weights_of,
)

STRATEGIES = ["single_auto_sync", "multi_auto_sync", "forced_sync"]
# Samples of each rank in each batch: the last is uneven, and cut into other numbers of parts.
SHARES = [(4, 4), (4, 4), (5, 2)]


def global_batches() -> list[tuple[Tensor, Tensor]]:
    inputs, targets = samples(sum(map(sum, SHARES)))
    sizes = [sum(each) for each in SHARES]
    return list(zip(inputs.split(sizes), targets.split(sizes), strict=True))


def own_batches() -> list[tuple[Tensor, Tensor]]:
    rank = comm.get_global_rank()
    return [
        tuple(part.split(list(each))[rank] for part in batch)  # pyright: ignore
        for batch, each in zip(global_batches(), SHARES, strict=True)
    ]


def train(batches: list[Any], **arguments: Any) -> dict[str, Any]:
    model = classifier()
    trainer, losses, memory = fitted(
        model=model,
        train_dataloader=batches,
        optimizers=sgd(model, momentum=0.9),
        max_duration="2ep",
        **arguments,
    )
    return {
        "losses": losses,
        "weights": weights_of(trainer),
        "samples": memory.series("time/sample"),
        "accuracy": memory.series("metrics/train/MulticlassAccuracy"),
    }


def train_own(strategy: str | None, size: int | None) -> dict[str, Any]:
    return train(own_batches(), ddp_sync_strategy=strategy, device_train_microbatch_size=size)


@pytest.mark.parametrize("size", [None, 2])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_ranks_train_to_the_losses_and_weights_of_one(strategy: str, size: int | None) -> None:
    alone = train(global_batches())
    first, second = run_ranks(2, train_own, strategy, size)
    assert_same(first["weights"], second["weights"])
    assert_close(first["weights"], alone["weights"])
    assert first["losses"] == second["losses"]
    assert first["losses"] == pytest.approx(alone["losses"], rel=1e-5)
    assert first["samples"] == second["samples"] == alone["samples"]
    assert first["accuracy"] == second["accuracy"] == pytest.approx(alone["accuracy"])


def train_tokens(is_shared: bool) -> tuple[list[float], dict[str, Tensor]]:
    torch.manual_seed(0)
    model = TokenModel()
    batches = token_batches()
    if is_shared:
        cut = [slice(0, 3), slice(3, 5)][comm.get_global_rank()]
        batches = [{name: part[cut] for name, part in batch.items()} for batch in batches]
    trainer, losses, _ = fitted(
        model=model,
        train_dataloader=batches,
        optimizers=sgd(model),
        device_train_microbatch_size=2,
    )
    return losses, weights_of(trainer)


def test_ranks_with_unequal_numbers_of_tokens_train_like_one() -> None:
    losses, weights = train_tokens(is_shared=False)
    (first_losses, first), (_, second) = run_ranks(2, train_tokens, True)
    assert_close(first, weights)
    assert_same(first, second)
    assert first_losses == pytest.approx(losses, rel=1e-5)


def train_unsized() -> int:
    warnings.simplefilter("ignore")  # about the generator that ends before the run
    count = 3 + comm.get_global_rank()
    trainer, _, _ = fitted(
        train_dataloader=(batch for batch in [samples(2)] * count), max_duration="10ba"
    )
    return trainer.state.timestamp.batch.value


def test_an_epoch_ends_on_all_ranks_where_the_first_has_no_more() -> None:
    assert run_ranks(2, train_unsized) == [3, 3]


def train_lengths() -> int:
    batches = [samples(2)] * (3 + comm.get_global_rank())
    trainer, _, _ = fitted(train_dataloader=batches, max_duration="2ep")
    return trainer.state.timestamp.batch.value


def test_an_epoch_is_as_long_as_the_shortest_loader() -> None:
    assert run_ranks(2, train_lengths) == [6, 6]


class Numbered(Dataset[Any]):
    """Samples whose targets are known, so that the right value of a metric is."""

    def __init__(self, count: int) -> None:
        self.data = samples(count)

    def __len__(self) -> int:
        return len(self.data[0])

    def __getitem__(self, index: int) -> Any:
        return self.data[0][index], self.data[1][index]


def evaluate(count: int, microbatch_size: int | None) -> tuple[float, list[int]]:
    from torchmetrics import CatMetric
    from torchmetrics.classification import MulticlassAccuracy

    class Seen(CatMetric):
        """Keeps the targets that were counted."""

        full_state_update = False

    def update_metric(batch: Any, outputs: Any, metric: Any) -> None:
        if isinstance(metric, Seen):
            metric.update(batch[1].float())
        else:
            metric.update(outputs, batch[1])

    model = classifier(
        val_metrics={
            "Accuracy": MulticlassAccuracy(3, average="micro", validate_args=False),
            "Seen": Seen(),
        }
    )
    model.update_metric = update_metric  # pyright: ignore[reportAttributeAccessIssue]
    dataset = Numbered(count)
    data = DataLoader(dataset, batch_size=3, sampler=comm.get_sampler(dataset))
    evaluator = Evaluator(
        label="eval", dataloader=data, device_eval_microbatch_size=microbatch_size
    )
    trainer = make_trainer(model=model, train_dataloader=None)
    trainer.eval(evaluator)
    values = trainer.state.eval_metric_values
    seen = torch.atleast_1d(values["Seen"]).int().sort().values.tolist()
    return values["Accuracy"].item(), seen


@pytest.mark.parametrize(("count", "size"), [(7, None), (13, 2), (8, 2), (1, None)])
def test_metrics_count_each_sample_once_however_many_there_are(
    count: int, size: int | None
) -> None:
    value, seen = evaluate(count, size)
    ranks = run_ranks(2, evaluate, count, size)
    for rank_value, rank_seen in ranks:
        assert rank_value == pytest.approx(value, rel=1e-5)
        assert rank_seen == seen == sorted(samples(count)[1].tolist())


class ShortOfMemory(Callback):
    """Lets one rank run out of memory above a number of samples."""

    def __init__(self, rank: int, limit: int) -> None:
        self.is_short = comm.get_global_rank() == rank
        self.limit = limit
        self.sizes: list[Any] = []

    def after_forward(self, state: State, logger: Logger) -> None:
        if self.is_short and len(state.outputs) > self.limit:
            raise torch.OutOfMemoryError("no more on this rank")

    def batch_end(self, state: State, logger: Logger) -> None:
        self.sizes.append(state.device_train_microbatch_size)


def train_short_of_memory(size: Any, limit: int) -> tuple[Any, Any, Any]:
    short = ShortOfMemory(1, limit)
    model = norm_classifier()
    batches = [tuple(t[comm.get_global_rank() :: 2] for t in samples(16, seed=s)) for s in (1, 2)]
    trainer, losses, _ = fitted(
        model=model,
        train_dataloader=batches,
        optimizers=sgd(model),
        device_train_microbatch_size=size,
        ddp_sync_strategy="forced_sync",
        callbacks=[short],
    )
    return short.sizes, losses, weights_of(trainer)


def test_one_rank_that_runs_out_of_memory_makes_all_halve_their_microbatches() -> None:
    found = run_ranks(2, train_short_of_memory, "auto", 3)
    fixed = run_ranks(2, train_short_of_memory, 2, 3)
    assert found[0][0] == found[1][0] == [2, 2]
    for (_, losses, weights), (_, expected_losses, expected) in zip(found, fixed, strict=True):
        assert losses == expected_losses
        assert_same(weights, expected)


def train_lbfgs() -> tuple[list[float], dict[str, Tensor]]:
    is_alone = comm.get_world_size() == 1
    model = classifier()
    optimizer = torch.optim.LBFGS(
        model.parameters(), lr=0.5, max_iter=4, line_search_fn="strong_wolfe"
    )
    trainer, losses, _ = fitted(
        model=model,
        train_dataloader=global_batches() if is_alone else own_batches(),
        optimizers=optimizer,
    )
    return losses, weights_of(trainer)


def test_an_optimizer_that_asks_for_gradients_decides_the_same_on_all_ranks() -> None:
    losses, weights = train_lbfgs()
    (first_losses, first), (_, second) = run_ranks(2, train_lbfgs)
    assert_same(first, second)
    assert first_losses == pytest.approx(losses, rel=1e-3)
    for name, value in weights.items():
        torch.testing.assert_close(first[name], value, rtol=1e-2, atol=1e-3)
