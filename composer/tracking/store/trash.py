"""Runs thrown away: out of their project at once, gone for good only when the trash is emptied.

A run in the trash belongs to no project, so nothing that looks for a project's runs can find it,
and its name may be given again.
"""

import datetime as dt
from typing import Final

from composer.tracking.protocol.refusal import ConflictError
from composer.tracking.store import runs
from composer.tracking.store.clock import now
from composer.tracking.store.index import Row
from composer.tracking.store.store import Store
from composer.tracking.store.writer import Tx

KEPT_DAYS: Final = 7


def throw_away(tx: Tx, run: Row) -> None:
    """Take a run out of its project."""
    tx.set("runs", run["id"], project_id=None, trashed_from=run["project_id"], trashed_at=now())
    tx.announce(kind="run", run=run["id"], state="deleted")


def restore(tx: Tx, run: Row) -> None:
    """Put a run back.

    Raises:
        ConflictError: its name has been given to another run since.
    """
    if runs.find(tx, run["trashed_from"], run["name"]) is not None:
        raise ConflictError(f"there is another run {run['name']!r} now; delete that one first.")
    tx.set("runs", run["id"], project_id=run["trashed_from"], trashed_from=None, trashed_at=None)
    tx.announce(kind="run", run=run["id"])


def empty(store: Store, older_than_days: float = KEPT_DAYS) -> int:
    """Delete what has been in the trash for some days; returns how many runs."""
    limit = dt.datetime.now(dt.UTC) - dt.timedelta(days=older_than_days)
    with store.reading() as reader:
        rows = reader.all("SELECT * FROM runs WHERE trashed_from IS NOT NULL")
    old = [row for row in rows if dt.datetime.fromisoformat(row["trashed_at"]) < limit]
    for row in old:
        store.do(lambda tx, number=row["id"]: tx.drop_run(number))
    return len(old)
