"""What a user may ask of parallel training, checked when it is asked.

`parse` turns a Trainer's ``parallelism_config`` into a frozen `ParallelismConfig`; a wrong key is
an error with the nearest right one, never silently no parallelism. These classes only say what is
wanted; `composer.distributed.plan` says what can be done. Public as `composer.utils.parallelism`.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar, cast

from composer.errors import ArgumentTypeError, ConfigError, did_you_mean, unknown_name
from composer.utils.string_enum import StringEnum

__all__ = [
    "FSDP2Config",
    "FSDPConfig",
    "ParallelismConfig",
    "ParallelismType",
    "TPConfig",
    "parse",
]

T = TypeVar("T")

_STATE_DICT_TYPES = ("full", "sharded")
_MIXED_PRECISION = ("FULL", "DEFAULT", "PURE")


class ParallelismType(StringEnum):
    """Axes of a device mesh along which a model can be spread."""

    DATA_PARALLEL_SHARD = "data_parallel_shard"
    DATA_PARALLEL_REPLICATE = "data_parallel_replicate"
    TENSOR_PARALLEL = "tensor_parallel"


@dataclass(frozen=True)
class FSDP2Config:
    """Sharded training with ``torch.distributed.fsdp.fully_shard``.

    Attributes:
        device_mesh: a ``DeviceMesh`` of one axis (shard) or two (replicate, shard); ``None`` shards
            over all ranks.
        reshard_after_forward: free the gathered weights after the forward pass; a number reshards
            to groups of that many ranks.
        activation_checkpointing: compute activations again in the backward pass.
        activation_cpu_offload: keep activations in CPU memory between the passes.
        state_dict_type: ``'sharded'`` or ``'full'`` checkpoints.
        load_monolith_rank0_only: only rank 0 reads a monolithic checkpoint and sends it on.
        mixed_precision: ``'DEFAULT'`` (parameters in the run's precision, reduction in float32),
            ``'PURE'`` (reduction too), ``'FULL'`` (no casting), or a mapping of dtypes.
        verbose: report what is sharded.
    """

    device_mesh: Any = None
    reshard_after_forward: bool | int = True
    activation_checkpointing: bool = False
    activation_cpu_offload: bool = False
    state_dict_type: str = "sharded"
    load_monolith_rank0_only: bool = False
    mixed_precision: str | Mapping[str, Any] = "DEFAULT"
    verbose: bool = False

    def __post_init__(self) -> None:
        _check_choice("state_dict_type", self.state_dict_type, _STATE_DICT_TYPES)
        if isinstance(self.mixed_precision, str):
            _check_choice("mixed_precision", self.mixed_precision, _MIXED_PRECISION)
        _check_mesh_axes(self.device_mesh)

    @classmethod
    def settable_attrs(cls) -> set[str]:
        """The names of all settings."""
        return {field.name for field in fields(cls)}

    @classmethod
    def from_compatible_attrs(cls, attrs: Mapping[str, Any]) -> "FSDP2Config":
        """Make the config from settings of which some may belong to another kind of FSDP.

        Args:
            attrs: settings by name.

        Warns:
            UserWarning: naming the settings that are left out.
        """
        known = cls.settable_attrs()
        left_out = sorted(set(attrs) - known)
        if left_out:
            warnings.warn(
                f"FSDP2 has no {', '.join(left_out)}; left out.", category=UserWarning, stacklevel=2
            )
        return cls(**{name: value for name, value in attrs.items() if name in known})

    @property
    def data_parallel_shard_degree(self) -> int:
        """Over how many ranks weights are sharded; -1 if no mesh says so."""
        return -1 if self.device_mesh is None else int(self.device_mesh.size(-1))

    @property
    def data_parallel_replicate_degree(self) -> int | None:
        """How many replicas of the shards there are; ``None`` without such an axis."""
        if self.device_mesh is None or self.device_mesh.ndim == 1:
            return None
        return int(self.device_mesh.size(0))

    @property
    def sync_module_states(self) -> bool:
        """Whether rank 0's weights are sent to all ranks before sharding."""
        return self.load_monolith_rank0_only

    @property
    def use_orig_params(self) -> bool:
        """Whether parameters keep their names and shapes; always so with FSDP2."""
        return True

    @property
    def sharded_ckpt_prefix_dir(self) -> str:
        """Name template of the folder of a sharded checkpoint."""
        return "ep{epoch}-ba{batch}"

    @property
    def load_planner(self) -> None:
        """FSDP2 needs no planner of its own to load."""
        return None

    @property
    def save_planner(self) -> None:
        """FSDP2 needs no planner of its own to save."""
        return None


@dataclass(frozen=True, kw_only=True)
class FSDPConfig:
    """Settings in the words of the first FSDP of torch, which scripts still use.

    Composer trains with FSDP2 and maps what has a meaning there. Names and defaults are those of
    ``torch.distributed.fsdp.FullyShardedDataParallel`` where it has them.

    Attributes:
        data_parallel_shard_degree: over how many ranks to shard; -1 for all that are left.
        data_parallel_replicate_degree: how many replicas of the shards.
        sharding_strategy: ``'FULL_SHARD'``, ``'SHARD_GRAD_OP'``, ``'HYBRID_SHARD'``,
            ``'_HYBRID_SHARD_ZERO2'`` or ``'NO_SHARD'``.
        state_dict_type: ``'full'`` or ``'sharded'`` checkpoints.
        mixed_precision: as in `FSDP2Config`.
        activation_checkpointing: compute activations again in the backward pass.
        activation_cpu_offload: keep activations in CPU memory between the passes.
    """

    activation_checkpointing: bool = False
    activation_checkpointing_reentrant: bool = True
    activation_cpu_offload: bool = False
    auto_wrap: bool = True
    te_checkpoint_wrapper: bool = False
    te_shard_fp8_weight: bool = False
    backward_prefetch: str = "BACKWARD_POST"
    backward_prefetch_limit: int = 1
    cpu_offload: bool = False
    data_parallel_shard_degree: int = -1
    data_parallel_replicate_degree: int | None = None
    forward_prefetch: bool = False
    forward_prefetch_limit: int = 1
    ignored_modules: Any = None
    keep_low_precision_grads: bool = False
    limit_all_gathers: bool = True
    load_monolith_rank0_only: bool = False
    load_planner: Any = None
    mixed_precision: str | Mapping[str, Any] = "DEFAULT"
    process_group: Any = None
    save_planner: Any = None
    sharded_ckpt_prefix_dir: str = "ep{epoch}-ba{batch}"
    sharding_strategy: str = "FULL_SHARD"
    state_dict_type: str = "full"
    sync_module_states: bool = False
    use_orig_params: bool = True
    verbose: bool = False
    device_mesh: Any = None

    def __post_init__(self) -> None:
        _check_choice("state_dict_type", self.state_dict_type, (*_STATE_DICT_TYPES, "local"))
        if isinstance(self.mixed_precision, str):
            _check_choice("mixed_precision", self.mixed_precision, _MIXED_PRECISION)


@dataclass(frozen=True)
class TPConfig:
    """Tensor parallel training: single layers spread over several ranks.

    Attributes:
        device_mesh: a ``DeviceMesh`` with the tensor parallel axis; made from the degree if
            ``None``.
        tensor_parallel_degree: over how many ranks each layer is spread, at least 1.
        layer_plan: module name to ``torch.distributed.tensor.parallel.ParallelStyle``.
    """

    device_mesh: Any = None
    tensor_parallel_degree: int = 1
    layer_plan: Any = None

    def __post_init__(self) -> None:
        if self.tensor_parallel_degree < 1:
            raise ConfigError(
                f"tensor_parallel_degree={self.tensor_parallel_degree!r} must be at least 1."
            )


@dataclass(frozen=True)
class ParallelismConfig:
    """What is spread over ranks beside the data.

    Each part may be given as its class or as a mapping of its settings.

    Attributes:
        fsdp: sharded training; a mapping that fits `FSDP2Config` becomes one, any other an
            `FSDPConfig`.
        tp: tensor parallel training, only together with sharding.
        fsdp2: sharded training in the words of FSDP2; instead of `fsdp`.

    Raises:
        UnknownNameError: a setting that does not exist, with the nearest that does.
        ConfigError: parts that do not go together, or a setting out of range.
        ArgumentTypeError: a part that is neither a mapping nor its class.
    """

    fsdp: "FSDPConfig | FSDP2Config | Mapping[str, Any] | None" = None
    tp: "TPConfig | Mapping[str, Any] | None" = None
    fsdp2: "FSDP2Config | Mapping[str, Any] | None" = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "fsdp", _part("fsdp", self.fsdp, FSDP2Config, FSDPConfig))
        object.__setattr__(self, "tp", _part("tp", self.tp, TPConfig))
        object.__setattr__(self, "fsdp2", _part("fsdp2", self.fsdp2, FSDP2Config))
        if self.fsdp is not None and self.fsdp2 is not None:
            raise ConfigError("parallelism_config has both 'fsdp' and 'fsdp2'; give one of them.")
        if self.tp is not None and self.fsdp is None and self.fsdp2 is None:
            raise ConfigError(
                "parallelism_config has 'tp' and no 'fsdp'; tensor parallel training needs both. "
                "Add 'fsdp': {}."
            )

    def parts(self) -> list[str]:
        """The names of the parts that are asked for."""
        return [name for name in ("fsdp", "fsdp2", "tp") if getattr(self, name) is not None]


def parse(config: ParallelismConfig | Mapping[str, Any] | None) -> ParallelismConfig | None:
    """Check what a user gave as ``parallelism_config``.

    Args:
        config: a `ParallelismConfig`, a mapping with some of its fields, or ``None``.

    Returns:
        The config; ``None`` if nothing is asked for.

    Raises:
        UnknownNameError: a key that does not exist, with the nearest that does.
        ConfigError: as `ParallelismConfig` does.
        ArgumentTypeError: neither a mapping nor a `ParallelismConfig`.
    """
    if config is None:
        return None
    if isinstance(config, Mapping):
        config = _construct("parallelism_config", config, ParallelismConfig)
    elif not isinstance(config, ParallelismConfig):
        raise ArgumentTypeError(
            f"parallelism_config={config!r} is a {type(config).__name__}; give a mapping such as "
            "{'fsdp': {...}}, a ParallelismConfig, or None."
        )
    return config if config.parts() else None


def _part(name: str, value: Any, *kinds: type[Any]) -> Any:
    """Make one part; of several kinds the first whose settings cover the mapping."""
    if value is None or isinstance(value, kinds):
        return value
    if not isinstance(value, Mapping):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise ArgumentTypeError(
            f"parallelism_config[{name!r}]={value!r} is a {type(value).__name__}; "
            f"give a mapping, {names}, or None."
        )
    return _construct(f"parallelism_config[{name!r}]", cast("Mapping[str, Any]", value), *kinds)


def _construct(where: str, settings: Mapping[str, Any], *kinds: type[T]) -> T:
    names = {kind: {field.name for field in fields(cast("Any", kind))} for kind in kinds}
    for kind in kinds:
        if set(settings) <= names[kind]:
            return kind(**settings)
    known = set[str]().union(*names.values())
    wrong = sorted(set(settings) - known)
    if wrong:
        raise unknown_name(f"key of {where}", wrong[0], known)
    alone = {kind.__name__: sorted(set(settings) - names[kind]) for kind in kinds}
    raise ConfigError(f"the keys of {where} do not go together: {alone} are unknown to each.")


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name}={value!r} is unknown.{did_you_mean(value, allowed)}")


def _check_mesh_axes(mesh: Any) -> None:
    if mesh is not None and mesh.ndim not in (1, 2):
        raise ConfigError(
            f"device_mesh has {mesh.ndim} axes; FSDP2 takes one (shard) or two (replicate, shard)."
        )
