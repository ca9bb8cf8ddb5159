"""Tables line up."""

from composer.utils.text_table import format_table


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert format_table([("a", "b"), ("long", ""), ("x", "y")]) == [
        "a     b",
        "----  -",
        "long",
        "x     y",
    ]
