"""A database of MLflow for each test, without the time it takes to make one."""

from __future__ import annotations

import functools
import shutil
import tempfile
import warnings
from pathlib import Path

__all__ = ["make_store"]


@functools.cache
def _template() -> Path:
    from mlflow import MlflowClient

    path = Path(tempfile.mkdtemp(prefix="mlflow-template-")) / "mlflow.db"
    with warnings.catch_warnings():
        # SQLAlchemy's about MLflow's own code.
        warnings.simplefilter("ignore")
        MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


def make_store(folder: Path) -> str:
    """Return the address of an empty store in a folder."""
    path = folder / "mlflow.db"
    if not path.exists():
        shutil.copy(_template(), path)
    return f"sqlite:///{path}"
