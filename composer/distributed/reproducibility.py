"""Seeds and random-number states; public as `composer.utils.reproducibility`.

Three generators matter: Python's, numpy's and torch's (one per CPU and GPU). Nothing here runs at
import; `configure_deterministic_mode` changes global settings of torch and says so.
"""

import os
import random
import secrets
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch

from composer.distributed import comm
from composer.errors import ArgumentTypeError, ConfigError

__all__ = [
    "MAX_SEED",
    "agree_on_seed",
    "configure_deterministic_mode",
    "get_own_rng_state",
    "get_random_seed",
    "get_rng_state",
    "load_own_rng_state",
    "load_rng_state",
    "seed_all",
    "seed_context",
]

MAX_SEED: int = 2**32 - 1
"""The largest seed: numpy takes 32 bits."""


def configure_deterministic_mode() -> None:
    """Make torch choose algorithms that give the same result each time, at a cost in speed.

    From here on an operation that has no such algorithm raises. Call it before the first CUDA
    operation: cuBLAS reads its setting once.

    Warns:
        UserWarning: training will be slower.
    """
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    # Both of cuBLAS's deterministic workspaces will do; keep the user's choice between them.
    if os.environ.get("CUBLAS_WORKSPACE_CONFIG") not in (":16:8", ":4096:8"):
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    warnings.warn(
        "Deterministic mode is on. Training will be slower.", category=UserWarning, stacklevel=2
    )


def get_random_seed() -> int:
    """Draw a seed without touching any random-number generator.

    Returns:
        From 0 to `MAX_SEED`, different on each call and on each rank.
    """
    return secrets.randbelow(MAX_SEED + 1)


def agree_on_seed(seed: int | None = None) -> int:
    """Make the seed of the run, the same on all ranks; all ranks must call this.

    Args:
        seed: the seed, or ``None`` to draw one; rank 0's counts.

    Returns:
        Rank 0's seed. A rank then seeds itself with this plus its global rank.

    Raises:
        ConfigError: the seed of the last rank would be over `MAX_SEED`, or the seed is negative.
        ArgumentTypeError: the seed is not a whole number.
    """
    last = comm.get_world_size() - 1
    if seed is None:
        seed = secrets.randbelow(MAX_SEED - last + 1)
    _check_seed(seed, room=last)
    shared = [seed]
    comm.broadcast_object_list(shared)
    return shared[0]


def seed_all(seed: int) -> None:
    """Seed Python, numpy and torch, on the CPU and on all GPUs.

    Args:
        seed: from 0 to `MAX_SEED`.

    Raises:
        ConfigError: the seed is out of range.
        ArgumentTypeError: the seed is not a whole number.
    """
    _check_seed(seed)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)  # CUDA as well; before CUDA starts, this is kept until it does


@contextmanager
def seed_context(seed: int) -> Generator[None]:
    """Run the body with a seed of its own and put this rank's generators back afterwards.

    Args:
        seed: from 0 to `MAX_SEED`.
    """
    before = get_own_rng_state()
    seed_all(seed)
    try:
        yield
    finally:
        load_own_rng_state(before)


def get_rng_state() -> list[dict[str, Any]]:
    """Read the generators of all ranks; all ranks must call this.

    Returns:
        One mapping per rank with ``python``, ``numpy``, ``torch`` and, with a GPU, ``cuda`` (the
        rank's own GPU).
    """
    return comm.all_gather_object(get_own_rng_state())


def load_rng_state(rng_state_dicts: Sequence[dict[str, Any]]) -> None:
    """Put this rank's generators into a state that `get_rng_state` gave.

    Args:
        rng_state_dicts: one mapping per rank.

    Warns:
        UserWarning: the states are of another number of ranks; then nothing is changed.
    """
    world_size = comm.get_world_size()
    if len(rng_state_dicts) != world_size:
        warnings.warn(
            f"The random-number states are of {len(rng_state_dicts)} ranks and now there are "
            f"{world_size}, so they are not restored: random numbers will differ from those of "
            "a run that was never interrupted.",
            category=UserWarning,
            stacklevel=2,
        )
        return
    load_own_rng_state(rng_state_dicts[comm.get_global_rank()])


def get_own_rng_state() -> dict[str, Any]:
    """Read the generators of this rank; keys as in `get_rng_state`."""
    name, key, *rest = cast("tuple[Any, ...]", np.random.get_state())
    state: dict[str, Any] = {
        "python": random.getstate(),
        # Plain numbers: a checkpoint that holds these needs no numpy types to be read.
        "numpy": (name, key.tolist(), *rest),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def load_own_rng_state(state: dict[str, Any]) -> None:
    """Put this rank's generators into a state that `get_own_rng_state` gave."""
    torch.set_rng_state(state["torch"].cpu())
    random.setstate(_as_tuples(state["python"]))
    np.random.set_state(cast("Any", tuple(state["numpy"])))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


def _as_tuples(value: Any) -> Any:
    # File formats turn tuples into lists; Python's generator insists on tuples.
    if isinstance(value, (list, tuple)):
        return tuple(_as_tuples(item) for item in cast("Sequence[Any]", value))
    return value


def _check_seed(seed: int, room: int = 0) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ArgumentTypeError(
            f"seed={seed!r} is a {type(seed).__name__}; give a whole number from 0 to {MAX_SEED}."
        )
    if not 0 <= seed <= MAX_SEED - room:
        raise ConfigError(
            f"seed={seed!r} is out of range; give a whole number from 0 to {MAX_SEED - room}"
            + (f" (each of the {room + 1} ranks adds its number)." if room else ".")
        )
