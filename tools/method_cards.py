"""Write ``docs/methods/``: a card for each method, and the table of what the tests prove of it.

    python tools/method_cards.py

Methods are the algorithms and the optimizers. A card is the text of a module, and so of all methods
that it defines. Measured rows come from ``docs/methods/measured.toml``;
the table's columns from `tests/contract/_properties.py`.
"""

from __future__ import annotations

import inspect
import itertools
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))

# Not at the top, because the line above lets the repository's own package and tests be found.
import composer.functional  # noqa: E402
import composer.optim  # noqa: E402
from composer.ablation.report import SURE  # noqa: E402
from composer.registry import ALGORITHMS  # noqa: E402
from tests.contract._cases import CASES, first_cases  # noqa: E402
from tests.contract._properties import (  # noqa: E402
    LIMITS,
    PROPERTIES,
    REFUSALS,
    may_depend_on_order,
)

OPTIMIZERS: dict[str, type] = {
    name: found
    for name in composer.optim.__all__
    if isinstance(found := getattr(composer.optim, name), type) and issubclass(found, Optimizer)
}
METHODS = {name: ALGORITHMS.get(name) for name in ALGORITHMS.names()} | OPTIMIZERS

FOLDER = ROOT / "docs" / "methods"
MEASURED = FOLDER / "measured.toml"

HEADINGS = (
    "Papers",
    "Paper",
    "Source",
    "Idea",
    "When it helps",
    "When it hurts",
    "Suggested values",
)
# What a measured row says, and its column.
COLUMNS = {
    "method": "method",  # by itself, where a card has more than one
    "workload": "workload",
    "metric": "metric",
    "without": "without",
    "with": "with",
    "difference": "difference",
    "interval": "95 % interval",
    "p": "p, corrected",  # for the number of methods that were tried together
    "seeds": "seeds",
    "budget": "equal in",
    "hardware": "hardware",
    "command": "command",
    "date": "date",
}

Rows = Mapping[str, Sequence[Mapping[str, Any]]]


def main() -> None:
    """Write all pages, and take away those of methods that are gone."""
    pages = all_pages()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for stale in {path.name for path in FOLDER.glob("*.md")} - pages.keys():
        (FOLDER / stale).unlink()
    for name, text in pages.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    print(f"{len(pages)} pages in {FOLDER.relative_to(ROOT)}")


def all_pages() -> dict[str, str]:
    """Each page's file name and text."""
    measured = read_measured()
    together: dict[str, list[str]] = defaultdict(list)
    for name in METHODS:
        together[page_of(name)].append(name)
    pages = {page: card(names, measured) for page, names in together.items()}
    pages["README.md"] = overview(measured)
    return pages


def read_measured() -> Rows:
    """The measured rows of each method.

    Raises:
        ValueError: a row is of no known method, or has a key that is no column.
    """
    measured = tomllib.loads(MEASURED.read_text("utf-8"))
    unknown = measured.keys() - METHODS.keys()
    keys = {key for rows in measured.values() for row in rows for key in row} - COLUMNS.keys()
    if unknown or keys:
        raise ValueError(f"{MEASURED.name} has unknown {sorted(unknown | keys)}")
    return measured


def page_of(name: str) -> str:
    """The file name of a method's card."""
    return f"{METHODS[name].__module__.rpartition('.')[2]}.md"


# One card.


def card(names: Sequence[str], measured: Rows) -> str:
    """The page of one method, or of those that share a module."""
    module = inspect.getmodule(METHODS[names[0]])
    title, parts = read_card(module.__doc__ or "")
    lines = [f"# {title}", ""]
    for name in names:
        lines += [f"`{signature(name)}`", ""]
    functions = functions_of(module.__name__)
    if functions:
        lines += [f"As functions: {', '.join(f'`composer.functional.{f}`' for f in functions)}", ""]
    for heading, text in parts:
        lines += [f"## {heading}", "", text, ""]
    lines += ["## Measured", "", measured_table(rows_of(names, measured)), ""]
    return "\n".join(lines)


def read_card(text: str) -> tuple[str, list[tuple[str, str]]]:
    """Split a module's text into its first line and what stands under each heading."""
    first, _, rest = inspect.cleandoc(text).partition("\n")
    flat = "\n\n".join(map(flatten, rest.strip().split("\n\n")))
    pattern = rf"(?:^|(?<=\s))({'|'.join(HEADINGS)}):\s"
    pieces = re.split(pattern, flat)
    headings, bodies = pieces[1::2], pieces[2::2]
    return to_markdown(first.rstrip(".")), [
        (heading, to_markdown(body.strip())) for heading, body in zip(headings, bodies, strict=True)
    ]


def flatten(paragraph: str) -> str:
    """Put a paragraph on one line, unless it is indented: formulas stay as they are."""
    return paragraph if paragraph.startswith("    ") else " ".join(paragraph.split())


def to_markdown(text: str) -> str:
    """Turn the marks of docstrings into those of Markdown."""
    text = text.replace("::\n", ":\n")
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).replace("``", "`")
    text = re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)
    # A capital, where a sentence went on after its heading.
    return text[:1].upper() + text[1:]


def signature(name: str) -> str:
    """How the method is made, without types."""
    parameters = inspect.signature(METHODS[name]).parameters.values()
    shown = (str(each.replace(annotation=inspect.Parameter.empty)) for each in parameters)
    package = METHODS[name].__module__.rpartition(".")[0]
    return f"{package}.{name}({', '.join(shown)})"


def functions_of(module: str) -> list[str]:
    """The names of a module's functions in `composer.functional`."""
    face = composer.functional
    return [each for each in face.__all__ if getattr(face, each).__module__ == module]


def rows_of(names: Sequence[str], measured: Rows) -> list[Mapping[str, Any]]:
    """The rows of a card; those of several methods say whose they are."""
    if len(names) == 1:
        return list(measured.get(names[0], ()))
    return [{"method": name, **row} for name in names for row in measured.get(name, ())]


def measured_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows, with the columns that any of them has."""
    if not rows:
        return "No row of ours yet. What is said above is what others report."
    used = [key for key in COLUMNS if any(key in row for row in rows)]
    return table(
        [*(COLUMNS[key] for key in used), "shows"],
        [[*(str(row.get(key, "")) for key in used), finding(row)] for row in rows],
    )


def finding(row: Mapping[str, Any]) -> str:
    """What a row shows of the method; a metric that improves downwards says `lower is better`."""
    if "interval" not in row:
        return ""
    low, high = (float(each) for each in row["interval"].split(" .. "))
    if low <= 0 <= high:
        return "no gain, no loss: 0 lies in the interval"
    is_upwards = "lower is better" not in row.get("metric", "")
    found = "a gain" if (low > 0) == is_upwards else "a loss"
    return found if float(row.get("p", 0)) < SURE else f"perhaps {found}"


# The table of all.


def overview(measured: Rows) -> str:
    """The page that lists all methods, and algorithms with what the tests prove."""
    titles = [each.title for each in PROPERTIES]
    rows = [
        [link(name), *(cell(name, title) for title in titles), pairs_cell(name),
         measured_cell(name, measured)]
        for name in ALGORITHMS.names()
    ]  # fmt: skip
    return "\n".join(
        [
            "# Methods",
            "",
            "Each method, algorithm or optimizer, has a card: the paper, the idea, when it helps,",
            "when it hurts, suggested values, and what we measured.",
            "",
            "The table says what tests prove of each algorithm; every cell is a test that runs",
            "with `make test`, but for native code. This page and the cards are written by",
            "`python tools/method_cards.py`.",
            "",
            table(["method", *titles, "pairs", "measured"], rows),
            "",
            "## Optimizers",
            "",
            "An optimizer takes the place of the one that a run has.",
            "",
            table(
                ["method", "measured"], [[link(n), measured_cell(n, measured)] for n in OPTIMIZERS]
            ),
            "",
            "## What the columns mean",
            "",
            *(f"- **{each.title}**: {each.meaning}." for each in PROPERTIES),
            "- **pairs**: trains together with each other method of the same kind of data, in both",
            "  orders. `make test-all` trains each pair alone; `make test` all of them at once in",
            "  both orders, and neighbours of the list alone.",
            "- **measured**: whether the card has a row of ours.",
            "",
            "A step of any method reads nothing back from the device: `tests/house/test_syncs.py`.",
            "",
            "## Pairs that do not combine",
            "",
            *refusal_lines(),
            "",
            "## Pairs whose order matters",
            "",
            "Two methods that act on the same event and change the same thing act in the order in",
            "which they are given, and the second one works on what the first one left. All other",
            "pairs give the same weights in either order.",
            "",
            *order_lines(),
            "",
        ]
    )


def link(name: str) -> str:
    """A method's name, which leads to its card."""
    return f"[{name}]({page_of(name)})"


def measured_cell(name: str, measured: Rows) -> str:
    """Whether there is a row of ours."""
    return "yes" if measured.get(name) else "not yet"


def cell(name: str, title: str) -> str:
    """What stands in one cell."""
    return LIMITS.get((name, title), "yes")


def pairs_cell(name: str) -> str:
    """With which methods it is tried, and with which it does not combine."""
    refused = sorted(other for pair in REFUSALS if name in pair for other in pair - {name})
    kinds = " and ".join(dict.fromkeys(case.workload.name for case in CASES if case.name == name))
    return f"{kinds}; not with {', '.join(refused)}" if refused else kinds


def refusal_lines() -> list[str]:
    """One line for each pair that does not combine."""
    return [
        f"- {' and '.join(sorted(pair))}: {refusal.reason}." for pair, refusal in REFUSALS.items()
    ]


def order_lines() -> list[str]:
    """Which methods meet on an event, each group once."""
    groups: dict[str, set[str]] = {}
    for first, second in itertools.combinations(first_cases(), 2):
        one, other = first.make(), second.make()
        if may_depend_on_order(one, other):
            for event in set(one.events) & set(other.events):
                groups.setdefault(event.value, set()).update({first.name, second.name})
    return [
        f"- on `{event}`: {', '.join(sorted(group))}" for event, group in sorted(groups.items())
    ]


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
