"""What runs that went on from an earlier step left behind: a sketch of the rows that were cut.

A resumed run is rewound to its checkpoint, and the rows after it are replaced by new ones. Charts
show where that happened and how the old branch went.
"""

from typing import Any, Final

from composer.tracking.protocol import jsontext
from composer.tracking.store.clock import now
from composer.tracking.store.history import HISTORY
from composer.tracking.store.index import Reader, Row
from composer.tracking.store.reading import Rows
from composer.tracking.store.writer import Tx

MAX_ROWS: Final = 120


def keep(tx: Tx, rows: Rows, run: Row, num_kept: int) -> None:
    """Keep a sketch of a run's rows from line ``num_kept`` on, before they are cut.

    Args:
        tx: the transaction.
        rows: reads rows.
        run: the run.
        num_kept: how many of its rows stay.
    """
    last = rows.read(tx, run["id"], HISTORY, max(0, num_kept - 1), num_kept)
    start = rows.step_at(tx, run["id"], num_kept)
    found = [] if start is None else rows.sample(tx, run["id"], HISTORY, MAX_ROWS, low=start)
    tx.put(
        "branches",
        run_id=run["id"],
        mark=jsontext.dumps(_numbers(last[0]) if last else {}),
        rows=jsontext.dumps([_numbers(row) for row in found]),
        created_at=now(),
    )


def _numbers(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if type(value) in (int, float)}


def of_run(reader: Reader, run_id: int) -> list[Row]:
    """A run's branches, oldest first."""
    return reader.all("SELECT * FROM branches WHERE run_id = ? ORDER BY id", run_id)


def lines(reader: Reader, run_id: int, key: str, x_key: str) -> list[dict[str, Any]]:
    """Per branch, for a chart of a key: the x at which the run went on, and the points left."""
    found: list[dict[str, Any]] = []
    for branch in of_run(reader, run_id):
        rows = [row for row in jsontext.loads(branch["rows"]) if key in row and x_key in row]
        found.append(
            {
                "mark": jsontext.loads(branch["mark"]).get(x_key),
                "x": [row[x_key] for row in rows],
                "y": [row[key] for row in rows],
            }
        )
    return found
