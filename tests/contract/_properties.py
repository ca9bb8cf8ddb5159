"""What the battery proves of each method: the columns of the table in ``docs/methods/README.md``.

A cell is "yes" where the test of its column runs the method and passes; what deviates is said in
`LIMITS`, and pairs that refuse each other in `REFUSALS`, each with its reason.
"""

from __future__ import annotations

import itertools
from collections.abc import Set
from dataclasses import dataclass

from composer.core.algorithm import Algorithm

__all__ = ["LIMITS", "PROPERTIES", "REFUSALS", "Property", "Refusal", "may_depend_on_order"]


@dataclass(frozen=True)
class Property:
    """A column: its title, what it says, and the test that proves it (module and function)."""

    title: str
    meaning: str
    module: str
    test: str


_ALONE, _TOGETHER = "test_algorithms", "test_algorithms_together"
_RANKS, _FORMS = "test_algorithms_on_ranks", "test_functional_forms"

PROPERTIES = [
    Property(
        "fp32, second fit",
        "trains in full precision, and goes on in a second `fit`",
        _ALONE,
        "test_the_loss_stays_finite_over_a_second_fit",
    ),
    Property("bf16", "trains with `precision='amp_bf16'`", _ALONE, "test_it_works_in_bfloat16"),
    Property(
        "microbatches",
        "trains where batches are cut into parts",
        _ALONE,
        "test_it_works_with_microbatches",
    ),
    Property(
        "compiled",
        "a model compiled by `torch.compile` trains to the weights it trains to as it is",
        _ALONE,
        "test_it_trains_alike_on_a_compiled_model",
    ),
    Property(
        "native code",
        "likewise where it is compiled to native code (run by `make test-all`)",
        _ALONE,
        "test_it_trains_alike_on_a_model_compiled_to_native_code",
    ),
    Property(
        "exact resume",
        "a run that was interrupted ends with the weights of one that was not, bit by bit",
        _ALONE,
        "test_an_interrupted_run_equals_one_that_was_not",
    ),
    Property(
        "copies",
        "the method and the model it trained can be copied, and the copy computes the same",
        _ALONE,
        "test_a_copy_of_the_trained_model_computes_the_same",
    ),
    Property(
        "evaluation",
        "evaluation and prediction see their own data and the plain model",
        _ALONE,
        "test_evaluation_and_prediction_see_their_own_data_and_the_plain_model",
    ),
    Property(
        "two ranks",
        "two processes train to the same weights (DDP, gloo)",
        _RANKS,
        "test_two_ranks_train_to_the_same_weights",
    ),
    Property(
        "function",
        "its function does what its class does",
        _FORMS,
        "test_the_function_does_what_the_class_does",
    ),
]


LIMITS: dict[tuple[str, str], str] = {
    ("BatchSizeSchedule", "function"): "none: it cuts the batches of a run into steps",
    ("LAWA", "function"): "none: it averages over a run",
    ("NoOpModel", "function"): "none: it replaces the model of a run",
    ("SAM", "function"): "none: it wraps the optimizer of a run",
    ("ScheduledWeightDecay", "function"): "none: it follows the time of a run",
    ("SWA", "function"): "none: it averages over a run",
    ("LowPrecisionGroupNorm", "fp32, second fit"): "no effect in fp32, and says so; tried in bf16",
    ("LowPrecisionLayerNorm", "fp32, second fit"): "no effect in fp32, and says so; tried in bf16",
}
"""(method, title of the property) -> what holds instead of a plain yes."""


@dataclass(frozen=True)
class Refusal:
    """Why two methods do not combine, and a piece of the error that says so."""

    reason: str
    error: str


_NO_SCORES = Refusal(
    "the one parameter of NoOpModel gives no scores that targets could be compared with",
    "cannot tell the kind of targets",
)
_NO_LOSS_EACH = Refusal(
    "the one parameter of NoOpModel has no loss for each sample, by which to select",
    "the loss of each of",
)
_ONE_VIEW = Refusal(
    "a run has one set of weights to evaluate with", "both replace the weights used for evaluation"
)
_MIXES_TARGETS, _AVERAGES = ("CutMix", "LabelSmoothing", "MixUp"), ("EMA", "LAWA", "SWA")
REFUSALS: dict[Set[str], Refusal] = {
    **{
        frozenset({"NoOpModel", each}): _NO_SCORES for each in ("CutMix", "LabelSmoothing", "MixUp")
    },
    frozenset({"NoOpModel", "SelectiveBackprop"}): _NO_LOSS_EACH,
    **{frozenset(pair): _ONE_VIEW for pair in itertools.combinations(_AVERAGES, 2)},
}


def may_depend_on_order(first: Algorithm, second: Algorithm) -> bool:
    """Whether two methods may give other results in the other order.

    They may where they act on the same event and change the same thing: then the first one's work
    is what the second one finds.
    """
    return bool(set(first.events) & set(second.events)) and bool(
        set(first.writes) & set(second.writes)
    )
