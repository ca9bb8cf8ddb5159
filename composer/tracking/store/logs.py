"""Console lines of runs."""

import re
from typing import Any, Final

from composer.tracking.protocol import jsontext
from composer.tracking.store.index import Reader, Row

_PLAIN: Final = re.compile(
    r"(ERROR )?(\d{4}-\d\d-\d\dT[\d:.]+Z?) (?:\[([^\]]*)\] )?(.*)", re.DOTALL
)


def read(reader: Reader, run_id: int, start: int, stop: int) -> list[Row]:
    """Lines by number, from ``start`` up to but not including ``stop``."""
    return reader.all(
        "SELECT line, text FROM logs WHERE run_id = ? AND line >= ? AND line < ? ORDER BY line",
        run_id,
        start,
        stop,
    )


def search(reader: Reader, run_id: int, text: str, start: int, limit: int) -> list[Row]:
    """Lines from number ``start`` on that hold a text, whatever the case of ASCII letters."""
    return reader.all(
        "SELECT line, text FROM logs WHERE run_id = ? AND line >= ? "
        "AND instr(lower(text), lower(?)) ORDER BY line LIMIT ?",
        run_id,
        start,
        text,
        limit,
    )


def parse(row: Row) -> dict[str, Any]:
    """A stored line as number, timestamp, level, label and text, however it was written."""
    text: str = row["text"]
    parsed: dict[str, Any] = {
        "number": row["line"],
        "timestamp": None,
        "level": None,
        "label": None,
        "line": text,
    }
    if text.startswith("{"):
        value = jsontext.loads_object(text)
        if "content" in value:
            return parsed | {
                "timestamp": value.get("ts"),
                "level": value.get("level"),
                "label": value.get("label"),
                "line": str(value["content"]),
            }
    match = _PLAIN.fullmatch(text)
    if match:
        error, timestamp, label, line = match.groups()
        parsed |= {
            "timestamp": timestamp,
            "level": "error" if error else None,
            "label": label,
            "line": line,
        }
    return parsed
