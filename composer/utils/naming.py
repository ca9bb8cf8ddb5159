"""Fill file-name templates such as ``'ep{epoch}-rank{rank}.pt'``.

Pure functions on values. What fills in the ranks and counters of a run is
:mod:`composer.core.naming`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from string import Formatter
from typing import Any

__all__ = [
    "FORMAT_NAME_WITH_DIST_AND_TIME_TABLE",
    "FORMAT_NAME_WITH_DIST_TABLE",
    "TIME_COUNTERS",
    "find_later_files",
    "find_later_names",
    "partial_format",
]

# Counters of a timestamp that a template may name, the coarsest first.
TIME_COUNTERS = (
    "iteration",
    "epoch",
    "batch",
    "sample",
    "token",
    "epoch_in_iteration",
    "token_in_iteration",
    "batch_in_epoch",
    "sample_in_epoch",
    "token_in_epoch",
)

_RANK_ROWS = {
    "{run_name}": "name of the run",
    "{rank}": "global rank, from 0",
    "{local_rank}": "rank on this node, from 0",
    "{world_size}": "number of processes",
    "{local_world_size}": "number of processes on this node",
    "{node_rank}": "number of this node, from 0",
}
_TIME_ROWS = {
    "{iteration}": "finished iterations",
    "{epoch}": "finished epochs",
    "{batch}": "finished batches",
    "{sample}": "samples trained on",
    "{token}": "tokens trained on",
    "{epoch_in_iteration}": "epochs of this iteration",
    "{token_in_iteration}": "tokens of this iteration",
    "{batch_in_epoch}": "batches of this epoch",
    "{sample_in_epoch}": "samples of this epoch",
    "{token_in_epoch}": "tokens of this epoch",
    "{total_wct}": "seconds spent training",
    "{iteration_wct}": "seconds of this iteration",
    "{epoch_wct}": "seconds of this epoch",
    "{batch_wct}": "seconds of the last batch",
}


def _table(rows: Mapping[str, str]) -> str:
    width = max(map(len, rows)) + 4
    lines = [f"{f'``{name}``'.ljust(width)}  {meaning}" for name, meaning in rows.items()]
    edge = f"{'=' * width}  {'=' * max(map(len, rows.values()))}"
    return "\n".join([edge, f"{'Placeholder'.ljust(width)}  Meaning", edge, *lines, edge])


FORMAT_NAME_WITH_DIST_TABLE: str = _table(_RANK_ROWS)
"""What a name without time may hold, as a table for documentation."""

FORMAT_NAME_WITH_DIST_AND_TIME_TABLE: str = _table({**_RANK_ROWS, **_TIME_ROWS})
"""What a name with time may hold, as a table for documentation."""


def partial_format(s: str, /, *args: Any, **kwargs: Any) -> str:
    """Format a text with some of its placeholders and leave the others as they are.

    Args:
        s: a text as for ``str.format``.
        args: values of numbered placeholders.
        kwargs: values of named placeholders.

    Example:
        >>> partial_format("{name}-ep{epoch:03d}.pt", epoch=7)
        '{name}-ep007.pt'
    """
    formatter = Formatter()
    parts: list[str] = []
    next_index = 0
    for text, field, spec, conversion in formatter.parse(s):
        parts.append(text)
        if field is None:
            continue
        name = field
        if name == "" or name[0] in ".[":
            name = f"{next_index}{name}"
            next_index += 1
        try:
            value, _ = formatter.get_field(name, args, kwargs)
        except (KeyError, IndexError):
            parts.append(_placeholder(field, spec, conversion))
            continue
        if conversion:
            value = formatter.convert_field(value, conversion)
        parts.append(format(value, partial_format(spec or "", *args, **kwargs)))
    return "".join(parts)


def _placeholder(field: str, spec: str | None, conversion: str | None) -> str:
    return f"{{{field}{f'!{conversion}' if conversion else ''}{f':{spec}' if spec else ''}}}"


def find_later_files(
    folder: str | os.PathLike[str],
    template: str,
    values: Mapping[str, Any],
    counters: Mapping[str, int],
) -> Iterator[str]:
    """Yield the paths of files in a folder of which `find_later_names` says so.

    Args:
        folder: where to look; one that does not exist holds no file.
        template: file-name template.
        values: fixed placeholders, such as the rank.
        counters: counters of now.
    """
    names = os.listdir(folder) if os.path.isdir(folder) else []
    for name in find_later_names(names, template, values, counters):
        yield os.path.join(folder, name)


def find_later_names(
    names: Iterable[str],
    template: str,
    values: Mapping[str, Any],
    counters: Mapping[str, int],
) -> Iterator[str]:
    """Find names of files that a run would only write later than now.

    Such a file comes from another run; after some more training it would be overwritten, or be
    taken for one of this run.

    Args:
        names: the names there are.
        template: file-name template.
        values: fixed placeholders, such as the rank.
        counters: counters of now, by names of ``TIME_COUNTERS``.

    Yields:
        Those of them, in alphabetical order.
    """
    pattern = re.compile(_as_pattern(template, values, counters))
    for name in sorted(names):
        match = pattern.fullmatch(name)
        found = {} if match is None else {k: int(v) for k, v in match.groupdict().items()}
        if _is_later(found, counters):
            yield name


def _as_pattern(template: str, values: Mapping[str, Any], counters: Mapping[str, int]) -> str:
    def pieces() -> Iterator[str]:
        seen: set[str] = set()
        for text, field, spec, conversion in Formatter().parse(template):
            yield re.escape(text)
            if field is None:
                continue
            if field in counters:
                yield rf"(?P={field})" if field in seen else rf"(?P<{field}>\d+)"
                seen.add(field)
            elif field in values:
                yield re.escape(partial_format(_placeholder(field, spec, conversion), **values))
            else:
                yield ".*"

    return "".join(pieces())


def _is_later(found: Mapping[str, int], counters: Mapping[str, int]) -> bool:
    for name, count in found.items():
        if name.endswith("_in_epoch") and found.get("epoch", -1) != counters["epoch"]:
            # A count within an epoch says something only next to the same epoch.
            continue
        if name.endswith("_in_iteration") and found.get("iteration", -1) != counters["iteration"]:
            continue
        if count > counters[name]:
            return True
    return False
