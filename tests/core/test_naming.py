"""Names filled with the ranks and counters of a run."""

import datetime

import pytest

from composer.core.naming import (
    ensure_folder_has_no_conflicting_files,
    format_name_with_dist,
    format_name_with_dist_and_time,
)
from composer.core.time import Timestamp
from tests._dist import run_ranks

NOW = Timestamp(
    epoch=3,
    batch=42,
    sample=420,
    token=4200,
    batch_in_epoch=2,
    sample_in_epoch=20,
    token_in_epoch=200,
    total_wct=datetime.timedelta(seconds=90),
)


def name_of_rank():
    return format_name_with_dist("{run_name}-{rank}-{local_rank}-of-{world_size}", "run")


def test_one_process_is_rank_zero_of_one():
    template = "{run_name}/{rank}.{local_rank}.{world_size}.{local_world_size}.{node_rank}"
    assert format_name_with_dist(template, "run") == "run/0.0.1.1.0"


def test_each_rank_gets_a_name_of_its_own():
    assert run_ranks(2, name_of_rank) == ["run-0-0-of-2", "run-1-1-of-2"]


def test_counters_are_filled():
    template = "ep{epoch}-ba{batch}-sp{sample}-tok{token}-{batch_in_epoch}-{sample_in_epoch}"
    named = format_name_with_dist_and_time(template, "run", NOW)
    assert named == "ep3-ba42-sp420-tok4200-2-20"


def test_clocks_are_in_seconds():
    assert format_name_with_dist_and_time("{total_wct}-{batch_wct}", "run", NOW) == "90.0-0.0"


def test_formats_are_respected():
    assert format_name_with_dist_and_time("ep{epoch:04d}", "run", NOW) == "ep0003"


def test_unknown_placeholders_stay_and_extra_ones_are_filled():
    template = "{run_name}-{later}-{extra}"
    assert format_name_with_dist(template, "run", extra=1) == "run-{later}-1"
    assert format_name_with_dist_and_time(template, "run", NOW, extra=1) == "run-{later}-1"


def test_time_is_not_filled_without_a_timestamp():
    assert format_name_with_dist("ep{epoch}", "run") == "ep{epoch}"


def test_a_folder_with_a_later_checkpoint_is_refused(tmp_path):
    template = "ep{epoch}-ba{batch}-rank{rank}.pt"
    (tmp_path / "ep3-ba42-rank0.pt").touch()
    (tmp_path / "ep4-ba50-rank1.pt").touch()
    ensure_folder_has_no_conflicting_files(tmp_path, template, NOW)
    (tmp_path / "ep4-ba50-rank0.pt").touch()
    with pytest.raises(FileExistsError, match=r"ep4-ba50-rank0\.pt"):
        ensure_folder_has_no_conflicting_files(tmp_path, template, NOW)


def test_a_missing_folder_has_no_conflicts(tmp_path):
    ensure_folder_has_no_conflicting_files(tmp_path / "missing", "ep{epoch}.pt", NOW)
