"""Tables as text, Markdown and CSV."""

import csv

from glagcn.tables import Table, csv_number

TABLE = Table("name", "mm", "n", rows=[("a|b, c", "9.50", 1), ("long name", "120.25", "")])


def test_text_is_aligned():
    assert TABLE.text(left=1).splitlines() == ["name           mm  n", "a|b, c       9.50  1", "long name  120.25"]
    assert TABLE.text().splitlines()[0] == "     name      mm  n"


def test_markdown_has_a_rule_and_escapes_bars():
    assert TABLE.markdown().splitlines() == [
        "| name      |     mm |   n |", "| --------- | -----: | --: |", "| a\\|b, c   |   9.50 |   1 |",
        "| long name | 120.25 |     |",
    ]  # fmt: skip


def test_csv_is_read_back():
    assert list(csv.reader(TABLE.csv().splitlines())) == [
        ["name", "mm", "n"], ["a|b, c", "9.50", "1"], ["long name", "120.25", ""],
    ]  # fmt: skip
    assert TABLE.csv().endswith("\n")


def test_numbers_have_fifteen_digits():
    assert [csv_number(value) for value in (100 / 3, 7.0, float("nan"))] == ["33.3333333333333", "7", "NaN"]
