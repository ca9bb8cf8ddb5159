"""What the tests of WandBLogger share: a clean environment, and what a run has written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb

from composer.tracking.protocol.offline import Batch, LogReader, gather
from tests.tracking.tracker import Tracker

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


def set_online(monkeypatch: pytest.MonkeyPatch, tracker: Tracker, home: Path, project: str) -> None:
    """Let ``wandb`` know a tracker, and nothing of before."""
    forget_wandb()
    found = {"WANDB_BASE_URL": tracker.url, "WANDB_API_KEY": tracker.key, "WANDB_PROJECT": project}
    set_environment(monkeypatch, home, found)


def sync(home: Path, tracker: Tracker, run_dir: str | None = None) -> str:
    """Send what was written to disk, as a user does: a run, or all that were offline."""
    forget_wandb()
    paths = [] if run_dir is None else ["--include-online", str(Path(run_dir).parent)]
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "sync", "--yes", *paths],
        env=tracker.environment(home), cwd=home, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stderr


def read_runs(project: str) -> list[Any]:
    """Return the runs of a project, oldest first."""
    forget_wandb()
    return list(wandb.Api().runs(f"local/{project}", order="+created_at"))


def rows_of(run: Any) -> list[dict[str, Any]]:
    """Return the rows of a run, without the values that a row does not have."""
    return [{k: v for k, v in row.items() if v is not None} for row in run.scan_history()]


def trained_batches(rows: list[dict[str, Any]]) -> list[int]:
    """Return the batches whose loss is there."""
    return [row["time/batch"] for row in rows if TRAINED in row]
