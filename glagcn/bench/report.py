"""The report of the bench: a table and a JSON file."""

import json
from pathlib import Path
from typing import Any

from glagcn.bench.profile import profile_lines
from glagcn.files import write_text

HEAD = ("part", "ours", "plain", "unit", "ratio", "of floor", "ms", "GFLOP/s", "GB/s", "peak GB")


def table(report: dict[str, Any]) -> str:
    """The results as a table, below a description of the machine."""
    head, results = heading(report["machine"], report["peaks"]), report["results"]
    lines = columns([HEAD, *(_row(part, result) for part, result in results.items())])
    lines += [*_scaling_lines(results.get("scaling")), *_stream_lines(results.get("stream"))]
    lines += profile_lines(results.get("step", {}).get("profile"))
    return "\n".join([head, *lines])


def heading(machine: dict[str, Any], peaks: dict[str, float]) -> str:
    """Two lines on the machine and its peak rates, and an empty line."""
    where = machine["gpu"] or f"{machine['cpu']}, {machine['threads']} of {machine['cores']} cores"
    return (
        f"{where}; torch {machine['torch']}, Python {machine['python']}, {machine['date']}\n"
        f"peaks: matrix product {peaks['flops'] / 1e9:.0f} GFLOP/s, copy {peaks['bytes'] / 1e9:.1f} GB/s\n"
    )


def columns(rows: list[tuple[str, ...]]) -> list[str]:
    """Format rows of cells in right-aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def write_report(report: dict[str, Any], path: Path) -> None:
    """Write the report as JSON, atomically.  Raises UserError if it cannot be written."""
    text = json.dumps(report, indent=2, allow_nan=False) + "\n"
    write_text(path, text)


def _row(part: str, result: dict[str, Any]) -> tuple[str, ...]:
    def cell(name: str, scale: float = 1.0, form: str = ".1f") -> str:
        return format(result[name] / scale, form) if name in result else "-"

    return (
        part,
        cell("ours"),
        cell("reference"),
        result["unit"],
        cell("ratio", form=".2f"),
        cell("fraction_of_floor", 0.01, ".1f") + " %",
        cell("ms"),
        cell("flops_per_second", 1e9),
        cell("bytes_per_second", 1e9, ".2f"),
        cell("peak_memory_bytes", 1e9, ".2f"),
    )


def _scaling_lines(result: dict[str, Any] | None) -> list[str]:
    if result is None:
        return []
    lines = ["", "scaling, measured here (strong: one batch shared; weak: a batch for each)"]
    lines += [
        f"  {row['kind']:6}  {row['processes']:4} processes  {row['ms']:9.1f} ms  {row['rate']:9.1f} windows/s  "
        f"{100 * row['efficiency']:5.1f} %"
        for row in result["measured"]
    ]
    lines += ["predicted for this many GPUs, each with this step and batch, from stated link speeds"]
    lines += [
        f"  {row['processes']:4} GPUs  exchange {row['exchange_ms']:8.2f} ms  step {row['step_ms']:9.1f} ms  "
        f"{100 * row['efficiency']:5.1f} %"
        for row in result["predicted"]
    ]
    return lines


def _stream_lines(result: dict[str, Any] | None) -> list[str]:
    if result is None:
        return []
    rates, sequences = result["rates"], result["sequences"]
    memory = ", ".join(f"{(now['anon'] + now['file']) / 1e6:.0f}" for now in result["memory_bytes"])
    return [
        "",
        f"stream, {result['data_bytes'] / 1e9:.2f} GB of frames, {result['windows']:,} windows in a row, windows/s",
        f"  resident {rates['resident']:,.0f}  streamed {rates['streamed']:,.0f}  "
        f"from the disk, the file not in the page cache {rates['from_disk']:,.0f}",
        f"  streamed, the same frames as {sequences[1]:,} sequences instead of {sequences[0]:,}: "
        f"{rates['more_sequences']:,.0f}",
        f"  memory of the streaming process, MB, at the start and after each group: {memory}",
    ]
