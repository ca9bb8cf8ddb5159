"""Custom charts: specifications that users keep under a name, for tables to be drawn with."""

from typing import Any

from composer.tracking.store.clock import now
from composer.tracking.store.index import Reader, Row
from composer.tracking.store.writer import Tx


def find(reader: Reader, entity_id: int, name: str) -> Row | None:
    """An entity's chart by name."""
    return reader.one("SELECT * FROM charts WHERE entity_id = ? AND name = ?", entity_id, name)


def save(tx: Tx, entity: Row, args: dict[str, Any]) -> None:
    """Keep the definition of a custom chart, over one of the same name."""
    old = find(tx, entity["id"], args["name"])
    fields = {
        "display_name": args.get("displayName"),
        "kind": args.get("type"),
        "access": args.get("access"),
        "spec": args.get("spec"),
        "created_at": now(),
    }
    if old:
        tx.set("charts", old["id"], **fields)
    else:
        tx.put("charts", entity_id=entity["id"], name=args["name"], **fields)
