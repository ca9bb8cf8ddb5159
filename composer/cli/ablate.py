"""``composer ablate``: switch methods on and off and say what helped."""

import argparse
from collections.abc import Sequence
from typing import Any

from composer.errors import ConfigError
from composer.registry import ALGORITHMS


def main(argv: Sequence[str] | None = None) -> int:
    """Run the subcommand.

    Args:
        argv: the words after ``composer ablate``; those of the process if ``None``.

    Returns:
        The exit status, 0.
    """
    given = _parser().parse_args(argv)
    from composer.ablation.arms import DESIGNS
    from composer.ablation.runner import Ablation
    from composer.utils.import_helpers import import_from_file

    Ablation(
        import_from_file(given.function),
        {text.partition("(")[0]: _method(text) for text in given.methods},
        metric=given.metric,
        label=given.label,
        seeds=given.seeds,
        budget=given.budget,
        target=given.target,
        stop_at_target=given.stop_at_target,
        greater_is_better=given.greater_is_better,
        designs=given.designs or DESIGNS,
        clock=given.clock,
        folder=given.folder,
        group=given.group,
    ).run()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("composer ablate", description=__doc__)
    add = parser.add_argument
    add(
        "function",
        metavar="FILE.py:FUNCTION",
        help="makes the Trainer of one run, given a seed and an arm; MODULE:FUNCTION as well",
    )
    add(
        "--methods",
        nargs="+",
        required=True,
        metavar="METHOD",
        help="algorithms by name, with arguments where wanted: CutMix 'EMA(half_life=\"50ba\")'; "
        "any other word is a name that the function looks for in the arm",
    )
    add("--metric", required=True, help="name of the evaluation metric that counts")
    add("--label", help="the evaluator it belongs to, where there are several")
    add("--seeds", type=int, default=5, help="how many [5]")
    add("--budget", help="time of each run, such as 30s or 10m, or its duration, such as 10ep")
    add("--target", type=float, help="value of the metric to be reached")
    add("--stop-at-target", action="store_true", help="end a run there")
    add(
        "--greater-is-better",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="which way the metric improves [by its name]",
    )
    add("--designs", nargs="+", help="of: off, each, all, 'all but one' [all four]")
    add("--clock", default="wall", choices=["wall", "cpu"], help="what seconds mean [wall]")
    add("--folder", default="ablation", help="where results are kept, and gone on from [ablation]")
    add("--group", help="name of the ablation [that of the folder]")
    return parser


def _method(text: str) -> Any:
    name = text.partition("(")[0]
    if name not in ALGORITHMS:
        if name != text:
            raise ConfigError(f"{text!r}: there is no algorithm {name!r} to give arguments to")
        return name
    from composer.core.required_algorithms import parse_call

    arguments = parse_call(text, name) if name != text else {}
    cls = ALGORITHMS.get(name)
    return lambda: cls(**arguments)
