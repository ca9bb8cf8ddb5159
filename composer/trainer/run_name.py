"""A name for every run, also for those that were given none."""

from __future__ import annotations

import random
import time

from composer import env
from composer.distributed import comm

__all__ = ["make_run_name"]

_ADJECTIVES = (
    "amber", "brave", "calm", "clever", "crisp", "eager", "early", "fair", "fresh", "gentle",
    "golden", "happy", "keen", "kind", "lively", "lucky", "mellow", "merry", "mild", "misty",
    "noble", "patient", "placid", "polite", "proud", "quick", "quiet", "rapid", "royal", "silent",
    "silver", "smooth", "snowy", "steady", "sunny", "swift", "tidy", "vivid", "warm", "witty",
)  # fmt: skip
_NOUNS = (
    "anchor", "badger", "beacon", "birch", "bridge", "brook", "cedar", "cello", "cloud", "comet",
    "coral", "crane", "dune", "falcon", "fern", "fjord", "flute", "forest", "harbor", "heron",
    "island", "lantern", "lark", "maple", "meadow", "moon", "otter", "pebble", "pine", "planet",
    "prairie", "raven", "reef", "river", "robin", "sparrow", "summit", "thistle", "valley", "wren",
)  # fmt: skip


def make_run_name(given: str | None) -> str:
    """Return the run's name, the same on all ranks.

    Args:
        given: the user's name; ``None`` takes the environment's ``COMPOSER_RUN_NAME`` or
            ``RUN_NAME``, else makes one of the time and two words.
    """
    name = given or env.COMPOSER_RUN_NAME.get() or env.RUN_NAME.get()
    if name is None:
        # Not the seeded generator: two runs with one seed are two runs.
        words = random.SystemRandom()
        name = f"{int(time.time())}-{words.choice(_ADJECTIVES)}-{words.choice(_NOUNS)}"
    names = [name]
    comm.broadcast_object_list(names)
    return names[0]
