"""The figures of a study: error over training windows and over training seconds."""

from pathlib import Path

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from glagcn.files import write_atomically
from glagcn.study.file import Study
from glagcn.study.results import CurvePoint, Run, mean_curve

AXES = {"windows": "training windows", "seconds": "seconds of training"}
WIDE = {"x": 10, "y": 3}  # an axis is logarithmic if max / min is above this
STYLES = ("-", "--", ":", "-.")  # the next style when the ten colours are used up
COLOURS = 10


def draw_curves(study: Study, runs: list[Run], against: str, target: Path) -> None:
    """Draw the mean error over seeds of each configuration, with its range shaded, to the PNG file `target`.

    Removes an old `target` if there is no curve to draw.
    against  the horizontal axis, "windows" or "seconds".
    Raises UserError if it cannot be written.
    """
    figure = curves_figure(study, runs, against)
    if figure is None:
        target.unlink(missing_ok=True)
        return
    write_atomically(target, lambda file: figure.savefig(file, dpi=120, format="png"))


@rc_context({"text.parse_math": False})  # show a $ in a name as it is
def curves_figure(study: Study, runs: list[Run], against: str) -> Figure | None:
    """The figure of `draw_curves`; None if there is no curve."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    values: dict[str, list[float]] = {"x": [], "y": []}
    lines, labels = [], []
    for number, configuration in enumerate(study.configurations):
        own = [run for run in runs if run.configuration == configuration.name]
        if own and (points := mean_curve(own)):
            lines.append(_draw_line(axes, points, against, number))
            labels.append(f"{configuration.name} (n={len(own)})")
            values["x"] += [getattr(point, against) for point in points]
            values["y"] += [point.mean for point in points]
    if not lines:
        return None
    for name, found in values.items():
        if min(found) > 0 and max(found) > WIDE[name] * min(found):
            _make_logarithmic(axes, name)
    axes.set(xlabel=AXES[against], ylabel=f"{study.split} MPJPE, mm", title=study.title)
    axes.grid(alpha=0.3)
    # Explicit lines and labels: an automatic legend skips labels that start with _.
    figure.legend(lines, labels, loc="outside lower center", ncols=3)
    return figure


def _make_logarithmic(axes, name: str) -> None:
    """Make an axis, "x" or "y", logarithmic, with plain numbers as tick labels."""
    axes.set(**{f"{name}scale": "log"})
    axis = getattr(axes, f"{name}axis")
    axis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axis.set_minor_formatter(NullFormatter())


def _draw_line(axes, points: list[CurvePoint], against: str, number: int) -> Line2D:
    where = [getattr(point, against) for point in points]
    style = {"color": f"C{number % COLOURS}", "linestyle": STYLES[number // COLOURS % len(STYLES)]}
    marker = "." if len(points) < 30 else None
    (line,) = axes.plot(where, [point.mean for point in points], marker=marker, **style)
    low, high = [point.low for point in points], [point.high for point in points]
    axes.fill_between(where, low, high, color=style["color"], alpha=0.15, linewidth=0)
    return line
