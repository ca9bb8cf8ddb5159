"""Reports of ablations: each is a run that logged nothing and has its report as a file."""

import re
from typing import Any, Final

from composer.tracking.protocol import jsontext
from composer.tracking.protocol.refusal import BadRequestError
from composer.tracking.store import files, runs
from composer.tracking.store.index import Row
from composer.tracking.store.store import Store
from composer.tracking.store.writer import Tx

FILE: Final = "report.json"
# By this the dashboard knows the run.
_KEY: Final = "ablation/report"
_FORMAT: Final = 1
_MAX_NAME: Final = 80


def keep(store: Store, user: Row, entity: str | None, project: str, data: bytes) -> str:
    """Keep a report, over an older one of the same ablation; returns its run's name.

    Args:
        store: where to.
        user: who will own the run.
        entity: whose project; None for the user's own.
        project: its name; made if there is none.
        data: the ``report.json`` that an ablation wrote.

    Raises:
        BadRequestError: it is no such report.
    """
    group = _group_of(data)
    name = "ablation-" + (re.sub(r"[^A-Za-z0-9_.-]+", "-", group)[:_MAX_NAME] or "report")
    args = {
        "entityName": entity,
        "modelName": project,
        "name": name,
        "displayName": group,
        "jobType": "ablation",
        "config": jsontext.dumps({_KEY: {"value": FILE}}),
    }
    blob = store.blobs.put(data)

    def command(tx: Tx) -> None:
        run, _ = runs.upsert(tx, user, args)
        files.put(tx, run["id"], FILE, blob)
        tx.set("runs", run["id"], state="finished", source="import")
        tx.announce(kind="run", run=run["id"])

    store.do(command)
    return name


def _group_of(data: bytes) -> str:
    found: dict[str, Any] = jsontext.loads_object(data)
    has_parts = isinstance(found.get("rows"), list) and isinstance(found.get("runs"), list)
    if not has_parts or not isinstance(found.get("metric"), str):
        raise BadRequestError(
            "this is no report of an ablation; open the report.json that an ablation left in its "
            "folder."
        )
    if found.get("format") != _FORMAT:
        raise BadRequestError(
            f"the report has format {found.get('format')!r}, and this version reads {_FORMAT}."
        )
    return str(found.get("group") or "ablation")[:_MAX_NAME]
