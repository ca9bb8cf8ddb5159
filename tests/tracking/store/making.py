"""Runs with rows, made in a store without a client."""

from composer.tracking.store import runs, users
from composer.tracking.store.history import HISTORY
from composer.tracking.store.index import Row
from composer.tracking.store.store import Store


def make_run(store: Store, name: str) -> Row:
    def command(tx):
        return runs.upsert(tx, users.everyone(tx)[0], {"modelName": "p", "name": name})[0]

    return store.do(command)


def log_rows(store: Store, run: Row, start: int, count: int) -> None:
    rows = [{"_step": i, "x": i * 2, "text": "t"} for i in range(start, start + count)]
    store.do(lambda tx: store.ingest.append_rows(tx, run["id"], HISTORY, rows))
