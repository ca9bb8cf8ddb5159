"""What the tests of WandBLogger share: a clean environment, and what a run has written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb

from composer.tracking.protocol.offline import Batch, LogReader, gather

TRAINED = "loss/train/total"


def forget_wandb() -> None:
    """End every run and the service, so that the next one reads the environment anew."""
    wandb.teardown()


def set_environment(monkeypatch: pytest.MonkeyPatch, home: Path, values: dict[str, str]) -> None:
    """Let ``wandb`` know nothing but ``values``."""
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    folders = {
        "WANDB_DIR": home,
        "WANDB_CACHE_DIR": home / "cache",
        "WANDB_CONFIG_DIR": home / "config",
        "WANDB_DATA_DIR": home / "data",
        "WANDB_ARTIFACT_DIR": home / "artifacts",
        "HOME": home,
    }
    for name, value in {
        "WANDB_SILENT": "true",
        "WANDB_CONSOLE": "off",
        **folders,
        **values,
    }.items():
        monkeypatch.setenv(name, str(value))


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to which runs are written; there is no server."""
    forget_wandb()
    set_environment(monkeypatch, tmp_path, {"WANDB_MODE": "offline"})
    yield tmp_path
    forget_wandb()


def read_offline(folder: Path) -> Batch:
    """Return what the runs below a folder have written, in the order of their beginnings."""
    # The client's service may still be writing.
    forget_wandb()
    logs = sorted(folder.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.parent.name)
    records: list[bytes] = []
    for path in logs:
        records += LogReader(path).read()
    return gather(records)


def by_step(rows: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Return rows by step; each step is there once."""
    steps = [row["_step"] for row in rows]
    assert len(set(steps)) == len(steps), steps
    return dict(zip(steps, rows, strict=True))
