"""What may be asked of parallel training."""

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from composer.distributed.config import (
    FSDP2Config,
    FSDPConfig,
    ParallelismConfig,
    TPConfig,
    parse,
)
from composer.errors import ArgumentTypeError, ConfigError, UnknownNameError


def test_a_mapping_becomes_the_class_that_knows_its_keys():
    new = parse({"fsdp": {"reshard_after_forward": False}})
    old = parse({"fsdp": {"sharding_strategy": "FULL_SHARD", "verbose": True}})
    assert new == ParallelismConfig(fsdp=FSDP2Config(reshard_after_forward=False))
    assert old == ParallelismConfig(fsdp=FSDPConfig(sharding_strategy="FULL_SHARD", verbose=True))


def test_parts_of_a_config_class_are_read_too():
    config = ParallelismConfig(fsdp={}, tp={"tensor_parallel_degree": 2})
    assert parse(config) is config
    assert config.tp == TPConfig(tensor_parallel_degree=2)
    assert config.parts() == ["fsdp", "tp"]
    assert ParallelismConfig(fsdp2={}).fsdp2 == FSDP2Config()


@pytest.mark.parametrize("config", [None, {}, {"fsdp": None, "tp": None}])
def test_nothing_asked_is_none(config: Any):
    assert parse(config) is None


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"fspd": {}}, "unknown key of parallelism_config 'fspd'. Did you mean 'fsdp'"),
        ({"fsdp": {"reshard_after_foward": True}}, "Did you mean 'reshard_after_forward'"),
        ({"fsdp": {"sharding_strateg": "X"}}, "Did you mean 'sharding_strategy'"),
        ({"fsdp": {}, "tp": {"degree": 2}}, r"key of parallelism_config\['tp'\] 'degree'"),
    ],
)
def test_a_wrong_key_names_the_nearest_right_one(config: dict[str, Any], message: str):
    with pytest.raises(UnknownNameError, match=message):
        parse(config)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"tp": {}}, "no 'fsdp'"),
        ({"fsdp": {}, "fsdp2": {}}, "both"),
        ({"fsdp": {"state_dict_type": "fulll"}}, "Did you mean 'full'"),
        ({"fsdp": {"mixed_precision": "PURR"}}, "Did you mean 'PURE'"),
        ({"fsdp": {}, "tp": {"tensor_parallel_degree": 0}}, "at least 1"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(config: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        parse(config)


@pytest.mark.parametrize("config", [3, {"fsdp": True}, [("fsdp", {})]])
def test_a_wrong_type_is_refused(config: Any):
    with pytest.raises(ArgumentTypeError, match="give a mapping"):
        parse(config)


def test_configs_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        FSDP2Config().verbose = True  # pyright: ignore[reportAttributeAccessIssue]


def test_fsdp2_takes_what_it_knows_of_other_settings_with_a_warning():
    with pytest.warns(UserWarning, match="FSDP2 has no auto_wrap; left out"):
        config = FSDP2Config.from_compatible_attrs({"auto_wrap": True, "verbose": True})
    assert config == FSDP2Config(verbose=True)
    assert "device_mesh" in FSDP2Config.settable_attrs()


class _Mesh:
    def __init__(self, *sizes: int) -> None:
        self.sizes = sizes
        self.ndim = len(sizes)

    def size(self, axis: int) -> int:
        return self.sizes[axis]


def test_degrees_are_those_of_the_mesh():
    replicated = FSDP2Config(device_mesh=_Mesh(2, 4))
    assert replicated.data_parallel_replicate_degree == 2
    assert replicated.data_parallel_shard_degree == 4
    flat = FSDP2Config(device_mesh=_Mesh(8))
    assert (flat.data_parallel_replicate_degree, flat.data_parallel_shard_degree) == (None, 8)
    assert FSDP2Config().data_parallel_shard_degree == -1
    with pytest.raises(ConfigError, match="3 axes"):
        FSDP2Config(device_mesh=_Mesh(1, 2, 3))
