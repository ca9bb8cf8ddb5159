"""What all tests share: a clean environment, and no skipping where everything must be there."""

import os
import sys
from pathlib import Path

import pytest

# Helpers are imported as `tests.<...>`; at the end of the path, so that an installed composer that
# is to be tested goes before the one in this folder.
sys.path.append(str(Path(__file__).resolve().parents[1]))

# One test process is one of several on few cores; more threads only make them wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What a launcher or a user may have set outside must not reach the tests.
OUTSIDE = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "NODE_RANK",
    "MASTER_ADDR",
    "MASTER_PORT",
    "COMPOSER_RUN_NAME",
    "RUN_NAME",
    "CHECKPOINT_VALIDATION_FUNCTION",
)


def pytest_configure(config: pytest.Config) -> None:
    for name in OUTSIDE:
        os.environ.pop(name, None)
    wanted = os.environ.get("COMPOSER_TESTED_FROM")
    if wanted:
        _check_place(Path(wanted))


def _check_place(wanted: Path) -> None:
    """`make test` tests the wheel; a copy from elsewhere would prove nothing about it."""
    import composer

    found = Path(composer.__file__).resolve()
    if wanted.resolve() not in found.parents:
        raise pytest.UsageError(f"composer comes from {found}, not from {wanted}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("gpu") is not None and not _has_cuda():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()
