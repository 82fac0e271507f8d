"""What a study found, as pictures: the error against training windows and against seconds of training."""

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
WIDE = {"x": 10, "y": 3}  # the largest over the smallest number from which on an axis is logarithmic
STYLES = ("-", "--", ":", "-.")  # one after the other when the ten colours are used up
COLOURS = 10


def draw_curves(study: Study, runs: list[Run], against: str, target: Path) -> None:
    """Draw the mean error over seeds of each configuration, its range shaded, to the PNG `target`; without a single
    curve, remove an earlier one.

    against  "windows" or "seconds".
    Raises UserError where it cannot be written.
    """
    figure = curves_figure(study, runs, against)
    if figure is None:
        target.unlink(missing_ok=True)
        return
    write_atomically(target, lambda file: figure.savefig(file, dpi=120, format="png"))


@rc_context({"text.parse_math": False})  # a $ in a name is a $
def curves_figure(study: Study, runs: list[Run], against: str) -> Figure | None:
    """What `draw_curves` draws; None without a curve."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    places: dict[str, list[float]] = {"x": [], "y": []}
    lines, labels = [], []
    for number, configuration in enumerate(study.configurations):
        own = [run for run in runs if run.configuration == configuration.name]
        if own and (points := mean_curve(own)):
            lines.append(_draw_line(axes, points, against, number))
            labels.append(f"{configuration.name} (n={len(own)})")
            places["x"] += [getattr(point, against) for point in points]
            places["y"] += [point.mean for point in points]
    if not lines:
        return None
    for name, values in places.items():
        if min(values) > 0 and max(values) > WIDE[name] * min(values):
            _make_logarithmic(axes, name)
    axes.set(xlabel=AXES[against], ylabel=f"{study.split} MPJPE, mm", title=study.title)
    axes.grid(alpha=0.3)
    # Given one by one: by itself, a legend leaves out labels that begin with _.
    figure.legend(lines, labels, loc="outside lower center", ncols=3)
    return figure


def _make_logarithmic(axes, name: str) -> None:
    """Of one axis, "x" or "y", with plain numbers at its ticks."""
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
