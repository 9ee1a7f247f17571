"""A calibration on the terminal: the fitted numbers, and what they predict against what was observed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.table import Table

from budgets.fitting import Z90, DifficultyFit
from budgets.profiles import Profile
from service.cli.client import console, plain
from service.drawing.calibration import Curve
from service.drawing.chart import percent

Row = tuple[str, str, str]


def show(profile: Profile, curves: Sequence[Curve], verifier: str | None) -> None:
    """Print the numbers of a calibrated profile, and the curves at powers of two."""
    fitted = Table("", "fitted", "90 % interval", box=None, pad_edge=False, header_style="dim")
    for row in _rows(profile, verifier):
        fitted.add_row(*map(plain, row))
    bought = Table("samples", box=None, pad_edge=False, header_style="dim")
    bought.columns[0].justify = "right"
    for curve in curves:
        bought.add_column(plain(curve.name.replace(" with ", "\nwith ")), justify="right")
        bought.add_column("predicted", justify="right", no_wrap=True)
    for n in (n for n, _ in curves[0].observed if n.bit_count() == 1 or n == curves[0].observed[-1][0]):
        bought.add_row(str(n), *(cell for curve in curves for cell in _cells(curve, n)))
    console.print(fitted)
    console.print()
    console.print("Problems answered right, %: observed, and predicted with 90 % intervals", style="dim")
    console.print(bought)
    console.print()


def _cells(curve: Curve, n: int) -> Iterator[str]:
    value, low, high = next(rest for m, *rest in curve.predicted if m == n)
    yield next((f"{100 * share:.1f}" for m, share in curve.observed if m == n), "")
    yield f"{100 * value:.1f} ({100 * low:.0f}-{100 * high:.0f})"


def _rows(profile: Profile, verifier: str | None) -> Iterator[Row]:
    difficulty = profile.difficulty
    mean = difficulty.beta.a / (difficulty.beta.a + difficulty.beta.b)
    yield "accuracy of a sample", percent(mean), _percents(*difficulty.mean_interval)
    for name, value, sd in _shapes(difficulty):
        yield f"Beta of the difficulty, {name}", f"{value:.3g}", _around(value, sd)
    lengths = profile.lengths
    for what, length, sd in (
        ("right", lengths.right, lengths.right_mean_sd),
        ("wrong", lengths.wrong, lengths.wrong_mean_sd),
    ):
        median = math.exp(length.mean)
        yield f"tokens of a {what} response, median", f"{median:.0f}", _around(median, sd)
        yield "  nine of ten are shorter than", f"{length.quantile(0.9):.0f}", ""
    wrong = profile.wrong
    ends = sorted(wrong.moved(sign * Z90 * wrong.log_sd).agreement for sign in (1, -1))
    yield "two wrong answers agree", percent(wrong.wrong.agreement), _percents(*ends)
    if scores := profile.verifiers.get(verifier or ""):
        yield f"AUC of {verifier}", f"{scores.auc:.3f}", "{:.3f} to {:.3f}".format(*scores.auc_interval)
    if (law := profile.coverage) is not None:
        yield (
            "coverage of k samples",
            f"exp({law.a:.3g}·k^{law.b:.3g})",
            f"off by {100 * law.error:.2g} points",
        )


def _shapes(fit: DifficultyFit) -> Iterator[tuple[str, float, float]]:
    """a and b, each with the standard error of its log, by the delta method."""
    (mean, cross), (_, size) = fit.covariance
    share = fit.beta.a / (fit.beta.a + fit.beta.b)
    for name, value, slope in (("a", fit.beta.a, 1 - share), ("b", fit.beta.b, -share)):
        yield name, value, math.sqrt(max(0.0, size + slope * slope * mean + 2 * slope * cross))


def _around(value: float, log_sd: float) -> str:
    return f"{value * math.exp(-Z90 * log_sd):.3g} to {value * math.exp(Z90 * log_sd):.3g}"


def _percents(low: float, high: float) -> str:
    return f"{percent(low)} to {percent(high)}"
