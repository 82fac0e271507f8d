"""A table of results: rows and columns, as text, Markdown or CSV."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from glagcn.files import write_atomically


class Table:
    """Rows under named columns.

    Cells are text, or values that str() prints.
    """

    def __init__(self, *columns: str, rows: Iterable[Iterable[Any]] = ()) -> None:
        self.columns, self.rows = columns, [tuple(row) for row in rows]

    def add(self, *row: Any) -> None:
        """Add a row with a cell for each column."""
        self.rows.append(row)

    def text(self, left: int = 0) -> str:
        """Aligned columns: the first `left` to the left, the others to the right."""
        lines = self._cells()
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(_aligned(line, widths, left)).rstrip() for line in lines)

    def markdown(self) -> str:
        """A Markdown table with aligned columns: the first to the left, the others to the right."""
        lines = [[cell.replace("|", "\\|") for cell in line] for line in self._cells()]
        widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        aligned = [_aligned(line, widths, 1) for line in lines]
        return "\n".join("| " + " | ".join(line) + " |" for line in [aligned[0], rule, *aligned[1:]])

    def csv(self) -> str:
        """Lines of comma-separated cells, the names of the columns first."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.columns, *self.rows])
        return text.getvalue()

    def _cells(self) -> list[list[str]]:
        return [[str(cell) for cell in row] for row in (self.columns, *self.rows)]


def _aligned(line: list[str], widths: list[int], left: int) -> list[str]:
    cells = enumerate(zip(line, widths, strict=True))
    return [cell.ljust(width) if number < left else cell.rjust(width) for number, (cell, width) in cells]


def csv_number(value: float) -> str:
    """The value with 15 significant digits, or NaN, as MATLAB's writetable prints it."""
    return "NaN" if math.isnan(value) else f"{value:.15g}"


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> Path:
    """Write a CSV file row by row, atomically: `Table.csv` for more rows than fit into memory.  Returns the path."""

    def write(file: BinaryIO) -> None:
        with io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
            csv.writer(text, lineterminator="\n").writerows(chain([columns], rows))

    return write_atomically(path, write)
