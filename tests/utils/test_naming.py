"""Name templates, without a run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.utils.naming import (
    FORMAT_NAME_WITH_DIST_AND_TIME_TABLE,
    FORMAT_NAME_WITH_DIST_TABLE,
    TIME_COUNTERS,
    find_later_files,
    partial_format,
)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("ep{epoch}.pt", "ep3.pt"),
        ("ep{epoch:03d}.pt", "ep003.pt"),
        ("{name}-{epoch}", "{name}-3"),
        ("{name:>5}-{epoch!r}", "{name:>5}-3"),
        ("{name!s:>5}", "{name!s:>5}"),
        ("{name.part[0]}", "{name.part[0]}"),
        ("{epoch:{width}}|", "   3|"),
        ("plain", "plain"),
        ("{{literal}}", "{literal}"),
        ("", ""),
    ],
)
def test_known_placeholders_are_filled_and_others_stay(template, expected):
    assert partial_format(template, epoch=3, width=4) == expected


def test_numbered_placeholders_are_filled_while_values_last():
    assert partial_format("{}-{}-{}", 1, 2) == "1-2-{}"
    assert partial_format("{1}{0}", "a", "b") == "ba"


def test_a_template_may_be_filled_in_steps():
    template = "{run_name}/ep{epoch}-rank{rank}.pt"
    halfway = partial_format(template, rank=0)
    assert partial_format(halfway, run_name="r", epoch=2) == "r/ep2-rank0.pt"


@given(st.text(), st.integers())
def test_it_agrees_with_python_where_nothing_is_missing(text, number):
    template = text.replace("{", "{{").replace("}", "}}") + "{value}"
    assert partial_format(template, value=number) == template.format(value=number)


def test_the_tables_list_every_placeholder():
    for name in ("run_name", "rank", "local_rank", "world_size", "local_world_size", "node_rank"):
        assert f"``{{{name}}}``" in FORMAT_NAME_WITH_DIST_TABLE
        assert f"``{{{name}}}``" in FORMAT_NAME_WITH_DIST_AND_TIME_TABLE
    for name in (*TIME_COUNTERS, "total_wct", "epoch_wct", "batch_wct"):
        assert f"``{{{name}}}``" in FORMAT_NAME_WITH_DIST_AND_TIME_TABLE


class TestLaterFiles:
    template = "ep{epoch}-ba{batch}-rank{rank}.pt"

    @pytest.fixture
    def now(self):
        return {**dict.fromkeys(TIME_COUNTERS, 0), "epoch": 2, "batch": 20}

    def find(self, folder, now, template=None):
        found = next(find_later_files(folder, template or self.template, {"rank": 0}, now), None)
        return None if found is None else found.rpartition("/")[2]

    @pytest.mark.parametrize("name", ["ep3-ba20-rank0.pt", "ep2-ba21-rank0.pt"])
    def test_a_later_file_is_found(self, tmp_path, now, name):
        (tmp_path / name).touch()
        assert self.find(tmp_path, now) == name

    @pytest.mark.parametrize(
        "name",
        ["ep2-ba20-rank0.pt", "ep1-ba10-rank0.pt", "ep9-ba90-rank1.pt", "ep9-ba90-rank0.pt.old"],
    )
    def test_earlier_files_and_those_of_others_do_not_matter(self, tmp_path, now, name):
        (tmp_path / name).touch()
        assert self.find(tmp_path, now) is None

    def test_a_count_within_an_epoch_matters_in_the_same_epoch_only(self, tmp_path, now):
        template = "ep{epoch}-{batch_in_epoch}.pt"
        now["batch_in_epoch"] = 5
        (tmp_path / "ep1-9.pt").touch()
        assert self.find(tmp_path, now, template) is None
        (tmp_path / "ep2-9.pt").touch()
        assert self.find(tmp_path, now, template) == "ep2-9.pt"

    def test_signs_of_regular_expressions_are_plain_signs(self, tmp_path, now):
        (tmp_path / "aXep9.pt").touch()
        assert self.find(tmp_path, now, "a.ep{epoch}.pt") is None

    def test_unknown_placeholders_stand_for_anything(self, tmp_path, now):
        (tmp_path / "my run-ep9.pt").touch()
        assert self.find(tmp_path, now, "{run_name}-ep{epoch}.pt") == "my run-ep9.pt"

    def test_a_counter_named_twice_must_agree(self, tmp_path, now):
        (tmp_path / "3-4.pt").touch()
        assert self.find(tmp_path, now, "{epoch}-{epoch}.pt") is None

    def test_a_missing_folder_holds_nothing(self, tmp_path, now):
        assert self.find(tmp_path / "missing", now) is None
