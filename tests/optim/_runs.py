"""A run without a trainer: a state whose timestamp tests move by hand."""

from collections.abc import Iterator

import torch

from composer.core.state import State
from composer.core.time import Timestamp


def make_state(
    max_duration: str | None = "2ep", num_batches: int | None = 4, lr: float = 1.0
) -> State:
    """A state with one SGD optimizer and a loader of ``num_batches``; ``None`` is one unsized."""
    model = torch.nn.Linear(1, 1)
    return State(
        model,
        rank_zero_seed=0,
        run_name="run",
        device=None,  # pyright: ignore[reportArgumentType]
        max_duration=max_duration,
        dataloader=iter([]) if num_batches is None else range(num_batches),
        dataloader_label="train",
        optimizers=torch.optim.SGD(model.parameters(), lr=lr),
    )


def at(state: State, **counters: int) -> State:
    """Set the state's clock."""
    state.timestamp = Timestamp(**counters)
    return state


def batches(state: State, samples: int = 1) -> Iterator[int]:
    """Walk through the run as the training loop does; yields before every batch."""
    batch = 0
    while not state.is_training_done:
        yield batch
        batch += 1
        state.timestamp = state.timestamp.to_next_batch(samples)
        if batch % int(state.dataloader_len) == 0:
            state.timestamp = state.timestamp.to_next_epoch()
