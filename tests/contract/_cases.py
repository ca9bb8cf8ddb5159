"""How each method is tried: its arguments on a workload.

A new method needs one line in `CASES`; its first line is its usual form. Where the small models
have nothing it could act on, the line brings a workload of its own. A second line on another
workload lets the method meet the methods of that workload.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from composer.core.algorithm import Algorithm
from composer.registry import ALGORITHMS
from tests.contract._workloads import BY_INDEX, LANGUAGE, VISION, Workload


@dataclass(frozen=True)
class Case:
    """One way to use a method.

    Attributes:
        name: the method's name in the registry.
        arguments: what it is made with.
        workload: what it is tried on.
        keywords: what the Trainer must be given for the method to act, such as a precision.
    """

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    workload: Workload = VISION
    keywords: dict[str, Any] = field(default_factory=dict)

    def make(self) -> Algorithm:
        return ALGORITHMS.get(self.name)(**self.arguments)

    def __str__(self) -> str:
        shown = [f"{name}={value}" for name, value in self.arguments.items()]
        if self.workload is not VISION:
            shown.append(self.workload.name)
        return "-".join([self.name, *shown])


BF16 = {"precision": "amp_bf16"}
FACTORIZE = {"min_channels": 16, "min_features": 16, "latent_features": 4}

SHORT = {"duration": 0.5, "min_seq_length": 2, "max_seq_length": 8, "step_size": 2}

CASES = [
    Case("ActivationCheckpointing", {"modules": "blocks.*"}, LANGUAGE),
    Case("ActivationCheckpointing", {"modules": "TransformerBlock", "save": "nothing"}, LANGUAGE),
    Case("AugMix", {"batch": True}),
    Case("Alibi", {"max_sequence_length": 8, "train_sequence_length_scaling": 0.5}, LANGUAGE),
    Case("Alibi", {"max_sequence_length": 16, "train_sequence_length_scaling": 1}, LANGUAGE),
    Case("AlternatingFlip", workload=BY_INDEX),
    Case("AlternatingFlip", {"seed": 1, "flip_target": False}),
    Case("BatchSizeSchedule", {"milestones": ["0.5dur"]}),
    Case("BatchSizeSchedule", {"milestones": ["2ba"], "factor": 3, "lr_scaling": None}, LANGUAGE),
    Case("BlurPool"),
    Case("BlurPool", {"blur_first": False, "replace_maxpools": False}),
    Case("ChannelsLast"),
    Case("ColOut"),
    Case("CutMix"),
    Case("CutMix", {"interpolate_loss": True, "uniform_sampling": True, "alpha": 0.5}),
    Case("CutOut"),
    Case("EMA", {"half_life": "2ba"}),
    Case("EMA", {"half_life": "2ba"}, LANGUAGE),
    Case("EMA", {"half_life": None, "smoothing": 0.5, "ema_start": "0.25dur"}),
    Case("EMA", {"half_life": "1ep"}),
    Case("EMA", {"half_life": "8ba", "warmup": True}),
    Case("Factorize", FACTORIZE),
    Case("Factorize", FACTORIZE, LANGUAGE),
    Case("FusedLinearCrossEntropy", {}, LANGUAGE),
    Case("FusedLinearCrossEntropy", {"head": "head", "z_loss": 1e-3}, LANGUAGE),
    Case("GatedLinearUnits", {"feed_forward": "blocks.*.feed_forward"}, LANGUAGE),
    Case(
        "GatedLinearUnits",
        {"feed_forward": "blocks.*.feed_forward", "act_fn": "silu", "gated_layer_bias": True},
        LANGUAGE,
    ),
    Case("GhostBatchNorm", {"ghost_batch_size": 2}),
    Case("GradientClipping", {"clipping_type": "norm", "clipping_threshold": 0.1}),
    Case("GradientClipping", {"clipping_type": "norm", "clipping_threshold": 0.1}, LANGUAGE),
    Case("GradientClipping", {"clipping_type": "value", "clipping_threshold": 0.01}),
    Case("GradientClipping", {"clipping_type": "adaptive", "clipping_threshold": 0.01}),
    Case("GyroDropout", {"p": 0.25, "sigma": 4, "tau": 2}),
    Case("GyroDropout", {"sigma": 4, "tau": 2}, LANGUAGE),
    Case("InfoBatch", {"prune_ratio": 0.75}, BY_INDEX),
    Case("LabelSmoothing", {"smoothing": 0.2}),
    Case("LAWA", {"num_latest": 2, "update_interval": "1ba"}),
    Case("LAWA", {"num_latest": 3, "update_interval": "1ba", "lawa_start": "0.25dur"}, LANGUAGE),
    Case("LayerFreezing", {"freeze_start": 0.0}),
    Case("LayerFreezing", {"freeze_start": 0.25, "freeze_level": 0.75}, LANGUAGE),
    Case("LowPrecisionGroupNorm", keywords=BF16),
    Case("LowPrecisionLayerNorm", keywords=BF16),
    Case("LowPrecisionLayerNorm", workload=LANGUAGE, keywords=BF16),
    Case("LowPrecisionLayerNorm", {"apply_at": "before_load"}, keywords=BF16),
    Case("MixUp", {"alpha": 1.0}),
    Case("MixUp", {"interpolate_loss": True}),
    Case("NoOpModel"),
    Case("NoOpModel", workload=LANGUAGE),
    Case("ProgressiveResizing", {"delay_fraction": 0.0, "finetune_fraction": 0.5}),
    Case("ProgressiveResizing", {"mode": "area", "delay_fraction": 0.0}),
    Case("ProgressiveResizing", {"mode": "crop", "initial_scale": 0.4, "size_increment": 2}),
    Case("RandAugment", {"batch": True}),
    Case("RandAugment", {"batch": True, "mean": [0.5] * 3, "std": [0.2] * 3, "depth": 1}),
    Case("SAM", {"interval": 2}),
    Case("SAM", {}, LANGUAGE),
    Case("ScheduledWeightDecay", {"schedule": {"LinearScheduler": {}}}),
    Case(
        "ScheduledWeightDecay",
        {"schedule": {"CosineAnnealingScheduler": {"alpha_f": 10.0}}},
        LANGUAGE,
    ),
    Case("SelectiveBackprop", {"start": 0.25}),
    Case(
        "SelectiveBackprop",
        {"start": 0.0, "end": 1.0, "input_key": "input_ids", "target_key": "labels"},
        LANGUAGE,
    ),
    Case("SeqLengthWarmup", SHORT, LANGUAGE),
    Case("SeqLengthWarmup", {**SHORT, "truncate": False}, LANGUAGE),
    Case("StochasticDepth", {"target_layer_name": "ResidualBlock", "drop_warmup": 0.5}),
    Case(
        "StochasticDepth",
        {"target_layer_name": "blocks.*", "stochastic_method": "sample"},
        LANGUAGE,
    ),
    Case("SWA", {"swa_start": "0.25dur", "swa_end": "0.9dur", "update_interval": "1ba"}),
    Case(
        "SWA",
        {
            "swa_start": "0.3dur",
            "swa_end": "0.7dur",
            "update_interval": "1ba",
            "schedule_swa_lr": True,
            "swa_lr": 0.01,
        },
        LANGUAGE,
    ),
    Case("SqueezeExcite", {"min_channels": 4, "latent_channels": 2}),
    Case("WeightStandardization", {"n_last_layers_ignore": 1}),
    Case("Whitening"),
    Case("Whitening", {"freeze_norm": True}),
]


def first_cases(workload: Workload | None = None) -> list[Case]:
    """The first case of each method, of those on a workload if one is given."""
    first: dict[str, Case] = {}
    for case in CASES:
        if workload is None or case.workload is workload:
            first.setdefault(case.name, case)
    return list(first.values())
