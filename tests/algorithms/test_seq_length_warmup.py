from typing import Any

import pytest
import torch
from torch import Tensor, nn

from composer.algorithms.seq_length_warmup import SeqLengthWarmup, set_batch_sequence_length
from composer.core.event import Event
from composer.errors import ConfigError, DataError
from composer.models.base import ComposerModel
from tests.algorithms._runs import HandRun


def tokens(size: int = 2, length: int = 8) -> Tensor:
    return torch.arange(size * length).view(size, length)


# The function.


def test_truncation_leaves_the_first_tokens() -> None:
    batch = {"input_ids": tokens(), "labels": tokens() + 1, "weights": torch.rand(2)}
    short = set_batch_sequence_length(batch, 3)
    assert short["input_ids"].tolist() == [[0, 1, 2], [8, 9, 10]]
    assert short["labels"].tolist() == [[1, 2, 3], [9, 10, 11]]
    assert short["weights"] is batch["weights"]
    assert batch["input_ids"].shape == (2, 8)


def test_cutting_makes_more_sequences_and_drops_what_does_not_fill_one() -> None:
    short = set_batch_sequence_length({"input_ids": tokens()}, 3, truncate=False)
    assert short["input_ids"].tolist() == [
        [0, 1, 2],
        [3, 4, 5],
        [6, 7, 8],
        [9, 10, 11],
        [12, 13, 14],
    ]


def test_the_last_token_can_be_kept() -> None:
    # Lengths 8, 5, 3 and 2; four tokens are left, so the last two keep their end anyway.
    mask = torch.tensor([[1] * n + [0] * (8 - n) for n in (8, 5, 3, 2)])
    batch = {"input_ids": tokens(4), "attention_mask": mask}
    short = set_batch_sequence_length(batch, 4, preserve_end_of_sequence=True)
    assert short["input_ids"].tolist() == [
        [0, 1, 2, 7],
        [8, 9, 10, 12],
        [16, 17, 18, 19],
        [24, 25, 26, 27],
    ]
    assert short["attention_mask"].tolist() == [[1] * 4, [1] * 4, [1, 1, 1, 0], [1, 1, 0, 0]]


def test_padding_on_the_left_ends_where_the_last_token_is() -> None:
    batch = {"input_ids": tokens(1), "attention_mask": torch.tensor([[0] * 3 + [1] * 5])}
    short = set_batch_sequence_length(batch, 4, preserve_end_of_sequence=True)
    assert short["input_ids"].tolist() == [[0, 1, 2, 7]]


def test_a_batch_that_is_short_enough_stays_as_it_is() -> None:
    batch = {"input_ids": tokens()}
    assert set_batch_sequence_length(batch, 8)["input_ids"] is batch["input_ids"]


def test_entries_with_more_dimensions_are_shortened_too() -> None:
    batch = {"input_ids": tokens(), "features": torch.rand(2, 8, 5)}
    assert set_batch_sequence_length(batch, 3)["features"].shape == (2, 3, 5)
    assert set_batch_sequence_length(batch, 4, truncate=False)["features"].shape == (4, 4, 5)


@pytest.mark.parametrize(
    ("batch", "arguments", "message"),
    [
        ((tokens(), tokens()), {}, "got a tuple"),
        ({"label": torch.ones(2)}, {}, "no tensor of shape"),
        ({"input_ids": tokens()}, {"preserve_end_of_sequence": True}, "'attention_mask'"),
        ({"input_ids": tokens(), "label": torch.ones(2)}, {"truncate": False}, "'label' of shape"),
    ],
)
def test_batches_that_cannot_be_shortened_are_refused(
    batch: Any, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        set_batch_sequence_length(batch, 4, **arguments)


# The method.


class Bag(ComposerModel):
    """Sums embeddings; has statistics and dropout, which leave traces."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(32, 4)
        self.norm = nn.BatchNorm1d(4)
        self.dropout = nn.Dropout(0.5)
        self.lengths: list[int] = []

    def forward(self, batch: Any) -> Tensor:
        self.lengths.append(batch["input_ids"].shape[1])
        return self.dropout(self.norm(self.embedding(batch["input_ids"]).sum(1)))

    def loss(self, outputs: Tensor, batch: Any, *args: Any, **kwargs: Any) -> Tensor:
        return outputs.square().mean()


def run_of(max_duration: str = "10ba", **arguments: Any) -> HandRun:
    given = {"duration": 0.8, "min_seq_length": 2, "max_seq_length": 8, "step_size": 2}
    run = HandRun(SeqLengthWarmup(**{**given, **arguments}), Bag(), max_duration=max_duration)
    run.begin()
    return run


def lengths(run: HandRun, num_batches: int = 10) -> list[int]:
    seen = []
    for _ in range(num_batches):
        run.state.batch = {"input_ids": tokens()}
        run.run(Event.AFTER_DATALOADER)
        seen.append(run.state.batch["input_ids"].shape[1])
        run.end_batch()
    return seen


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        # 8 batches of warmup, 3 steps: each length lasts 8 // 3 = 2 batches.
        ({}, [2, 2, 4, 4, 6, 6, 8, 8, 8, 8]),
        ({"duration": 0.4, "step_size": 3}, [2, 2, 5, 5, 8, 8, 8, 8, 8, 8]),
        ({"duration": 0.0}, [8] * 10),
        ({"min_seq_length": 8}, [8] * 10),
        # 2 batches for 6 steps: three at a time.
        ({"duration": 0.2, "step_size": 1}, [2, 5, 8, 8, 8, 8, 8, 8, 8, 8]),
    ],
)
def test_lengths_grow_in_steps(arguments: dict[str, Any], expected: list[int]) -> None:
    # Li et al. 2021, section 4, in steps:
    # min + step * (batch // (warmup batches // ((max - min) // step))).
    assert lengths(run_of(**arguments)) == expected


def test_epochs_are_counted_by_the_loader() -> None:
    # One epoch of 10 batches.
    assert lengths(run_of("1ep")) == [2, 2, 4, 4, 6, 6, 8, 8, 8, 8]


def test_sequences_longer_than_the_maximum_are_shortened_to_it() -> None:
    run = run_of(max_seq_length=4)
    assert lengths(run)[-1] == 4


def test_length_and_number_of_sequences_are_logged() -> None:
    run = run_of(truncate=False)
    lengths(run, 1)
    run.logger.flush()
    assert run.memory.metrics[0] == {
        "seq_length_warmup/curr_seq_len": 2,
        "seq_length_warmup/curr_bs": 8,
    }


def test_reserving_memory_runs_at_full_length_and_leaves_no_trace() -> None:
    run = run_of()
    model = run.state.model
    run.state.batch = {"input_ids": tokens(4)}
    run.state.device_train_microbatch_size = 3
    state, before = torch.get_rng_state(), model.norm.running_mean.clone()
    run.state.algorithms[0].reserve_memory(run.state)
    assert model.lengths == [8]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(model.norm.running_mean, before)
    assert model.embedding.weight.grad is None


def test_running_out_of_memory_there_is_left_to_automatic_microbatching(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(batch: Any) -> None:
        raise torch.OutOfMemoryError

    run = run_of()
    run.state.batch = {"input_ids": tokens()}
    monkeypatch.setattr(run.state.model, "forward", fail)
    with pytest.raises(torch.OutOfMemoryError):
        run.state.algorithms[0].reserve_memory(run.state)
    run.state.auto_microbatching = True
    run.state.algorithms[0].reserve_memory(run.state)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"duration": 1.5}, "duration=1.5"),
        ({"min_seq_length": 0}, "min_seq_length=0"),
        ({"max_seq_length": 4}, "max_seq_length=4 is less"),
        ({"step_size": 0}, "step_size=0"),
        ({"truncate": False, "preserve_end_of_sequence": True}, "truncate=True only"),
    ],
)
def test_bad_arguments_are_refused_when_made(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SeqLengthWarmup(**arguments)


def test_a_length_that_is_not_known_in_batches_is_refused() -> None:
    with pytest.raises(ConfigError, match="SeqLengthWarmup needs max_duration in 'ep' or 'ba'"):
        run_of("1000tok")
