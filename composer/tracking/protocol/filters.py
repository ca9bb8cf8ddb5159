"""The MongoDB dialect in which clients filter and order runs.

A filter becomes a function of a run's values. Values of ``config`` and ``summary_metrics`` are
looked up by whole key first, then along dots. Patterns are searched with a bound on what they may
cost.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from composer.tracking.protocol import jsontext
from composer.tracking.protocol.refusal import BadRequestError
from composer.tracking.protocol.shapes import as_list, as_object

Lookup = Callable[[str], Any]
Predicate = Callable[[Lookup], bool]

MISSING: Final = object()
_MAX_DEPTH: Final = 20
_MAX_PATTERN: Final = 200
_MAX_SUBJECT: Final = 1000


def parse(text: str | None) -> Predicate:
    """Read a filter.

    Args:
        text: JSON text, or nothing for no filter.

    Returns:
        A function of a look-up of values by key.

    Raises:
        BadRequestError: not a filter.
    """
    if not text:
        return lambda _: True
    try:
        value = jsontext.loads(text)
    except ValueError as error:
        raise BadRequestError(f"the filter is not JSON: {error}") from None
    return _all_of(value, 0) if value else (lambda _: True)


def _all_of(value: Any, depth: int) -> Predicate:
    if not isinstance(value, dict) or depth > _MAX_DEPTH:
        raise BadRequestError(
            f"a filter is an object of keys and conditions, not {str(cast('Any', value))[:80]!r}."
        )
    parts = [_condition(str(key), each, depth + 1) for key, each in as_object(value).items()]
    return lambda look: all(part(look) for part in parts)


def _condition(key: str, value: Any, depth: int) -> Predicate:
    if key in ("$and", "$or", "$nor"):
        if not isinstance(value, list):
            raise BadRequestError(f"{key} takes a list.")
        parts = [_all_of(each, depth) for each in as_list(value)]
        if key == "$and":
            return lambda look: all(part(look) for part in parts)
        if key == "$or":
            return lambda look: any(part(look) for part in parts) or not parts
        return lambda look: not any(part(look) for part in parts)
    if key == "$not":
        inner = _all_of(value, depth)
        return lambda look: not inner(look)
    if key.startswith("$"):
        raise BadRequestError(
            f"unknown operator {key[:40]!r}. Known: {', '.join(sorted(_OPERATORS))}, $and, "
            "$or, $nor, $not."
        )
    test = _test(value, depth)
    return lambda look: test(look(key))


def _test(value: Any, depth: int) -> Callable[[Any], bool]:
    if not isinstance(value, dict) or not any(str(key).startswith("$") for key in as_object(value)):
        return lambda found: _equal(found, value)
    tests = [_operator(str(key), each, depth + 1) for key, each in as_object(value).items()]
    return lambda found: all(test(found) for test in tests)


def _operator(name: str, value: Any, depth: int) -> Callable[[Any], bool]:
    if depth > _MAX_DEPTH:
        raise BadRequestError("the filter is nested too deeply.")
    if name == "$not":
        inner = _test(value, depth)
        return lambda found: not inner(found)
    if name in ("$in", "$nin") and not isinstance(value, list):
        raise BadRequestError(f"{name} takes a list.")
    if name == "$regex":
        return _regex(value)
    if name == "$options":
        return lambda _: True
    operator = _OPERATORS.get(name)
    if operator is None:
        raise BadRequestError(
            f"unknown operator {name[:40]!r}. Known: {', '.join(sorted(_OPERATORS))}."
        )
    return lambda found: operator(found, value)


def _regex(value: Any) -> Callable[[Any], bool]:
    if not isinstance(value, str) or len(value) > _MAX_PATTERN:
        raise BadRequestError(f"$regex takes a pattern of up to {_MAX_PATTERN} characters.")
    if re.search(r"[+*}][)\]]*[+*{]|\)[+*{]", value):
        raise BadRequestError(
            "this pattern repeats a repetition, which may take forever; simplify it."
        )
    try:
        pattern = re.compile(value)
    except (re.error, RecursionError, OverflowError) as error:
        raise BadRequestError(f"$regex {value!r} is not a pattern: {error}") from None
    return lambda found: isinstance(found, str) and pattern.search(found[:_MAX_SUBJECT]) is not None


def _equal(found: Any, value: Any) -> bool:
    if found is MISSING:
        return value is None
    if isinstance(found, list) and not isinstance(value, list):
        return value in as_list(found)
    if isinstance(found, bool) is not isinstance(value, bool):
        return False
    return found == value


def _compare(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(found: Any, value: Any) -> bool:
        if found is MISSING or found is None or value is None:
            return False
        is_number = isinstance(found, (int, float)) and isinstance(value, (int, float))
        if is_number or (isinstance(found, str) and isinstance(value, str)):
            return test(found, value)
        return False

    return compare


_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "$eq": _equal,
    "$ne": lambda found, value: not _equal(found, value),
    "$gt": _compare(lambda a, b: a > b),
    "$gte": _compare(lambda a, b: a >= b),
    "$lt": _compare(lambda a, b: a < b),
    "$lte": _compare(lambda a, b: a <= b),
    "$in": lambda found, value: any(_equal(found, each) for each in value),
    "$nin": lambda found, value: not any(_equal(found, each) for each in value),
    "$exists": lambda found, value: (found is not MISSING) == bool(value),
}


def dig(values: Mapping[str, Any], path: str) -> Any:
    """A value by key, or along the dots of a path; `MISSING` if there is none."""
    if path in values:
        return values[path]
    head, _, rest = path.partition(".")
    while rest:
        inner = values.get(head)
        if isinstance(inner, dict):
            found = dig(as_object(inner), rest)
            if found is not MISSING:
                return found
        more, _, rest = rest.partition(".")
        head = f"{head}.{more}"
    return MISSING


def parse_order(text: str | None) -> list[tuple[str, bool]]:
    """Read an order such as ``-created_at,+config.lr``: keys, and whether each falls."""
    parts = [part for part in map(str.strip, (text or "").split(",")) if part]
    return [(part.lstrip("+-"), part.startswith("-")) for part in parts[:8]]


def sort_key(value: Any) -> tuple[int, Any]:
    """Makes values of any type comparable: missing, booleans and numbers, text, the rest."""
    if value is MISSING or value is None:
        return 0, 0
    if isinstance(value, (int, float)):
        return (0, 1) if math.isnan(value) else (1, value)
    return (2, value) if isinstance(value, str) else (3, jsontext.dumps(value))
