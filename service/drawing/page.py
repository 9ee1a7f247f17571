"""A whole picture: what the run was, its trees or its responses, how to read them, and what is left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from service.drawing.candidates import WIDTH as CHART
from service.drawing.candidates import Candidates
from service.drawing.fit import fit
from service.drawing.kv import HEIGHT as BARS
from service.drawing.kv import bars
from service.drawing.legend import legend
from service.drawing.model import Panel, Run
from service.drawing.ramp import Ramp
from service.drawing.story import story, story_height
from service.drawing.style import STYLE
from service.drawing.svg import boxed, element, number, plain, text
from service.drawing.tree import STEM, Tree

MARGIN: Final = 32
AXIS: Final = 30
"""Room for the numbers of an axis, left of the prompt."""
HEAD: Final = 116
NARROWEST: Final = 800
COLUMNS: Final = 1200
"""All columns together come to this width, unless each would become narrower or wider than `PITCH` says."""
PITCH: Final = (13, 280)
MOST_WARNINGS: Final = 3


def draw(run: Run) -> str:
    """The run as SVG: no scripts, nothing from elsewhere, at most a few megabytes, the same at each call."""
    if run.panels:
        panels, notes = fit(run.panels)
        ramp = Ramp.over(node.score for panel in panels for node in panel.nodes.values())
        body, width, y = _searched(panels, ramp)
    else:
        panels = []
        ramp = Ramp.over(response.score for response in run.responses)
        chart = Candidates(run.responses, ramp)
        notes = chart.notes()
        body, width, y = [*chart.draw(MARGIN, HEAD)], CHART + 2 * MARGIN, HEAD + chart.height
    notes += [plain(warning, 300) for warning in run.warnings[:MOST_WARNINGS]]
    for i, note in enumerate(notes):
        body.append(boxed(MARGIN, y + 18 * (i + 1), note, width - 2 * MARGIN, kind="m"))
    height = y + 18 * len(notes) + MARGIN / 2
    return element(
        "svg",
        element("style", STYLE),
        element("rect", width=width, height=height, class_="page"),
        boxed(MARGIN, 46, run.title, width - 2 * MARGIN, 20, "head"),
        boxed(MARGIN, 68, " · ".join(run.facts), width - 2 * MARGIN, 11, "m"),
        *legend(MARGIN, 93, ramp, panels),
        *body,
        xmlns="http://www.w3.org/2000/svg",
        role="img",
        aria_label=plain(f"{run.title}. {', '.join(run.facts)}", 300),
        width=width,
        height=height,
        viewBox=f"0 0 {number(width)} {number(height)}",
    )


def _searched(panels: Sequence[Panel], ramp: Ramp | None) -> tuple[list[str], float, float]:
    """The trees, one below the other with their depths aligned; the picture's width, and where they end."""
    depths = sorted({depth for panel in panels for depth in panel.levels()})
    columns = {depth: i for i, depth in enumerate(depths, start=1)}
    pitch = min(max(COLUMNS / max(len(depths), 1), PITCH[0]), PITCH[1])
    known = [depth for panel in panels for depth in panel.depths.values()]
    most = max((tokens or 0 for depth in known for tokens in (depth.grown, depth.kept)), default=0)
    left, y = MARGIN + AXIS, float(HEAD)
    body: list[str] = []
    tail = 40.0
    for panel in panels:
        if panel.iteration is not None:
            body.append(text(MARGIN, y + 10, f"iteration {panel.iteration}", "part"))
            y += 22
        tree = Tree(panel, columns, pitch, ramp)
        body += tree.draw(left, y)
        tail = max(tail, pitch * STEM if tree.worded else 0)
        y += tree.height + 18
        body += _axis(columns, pitch, left, y)
        y += 26
        body += bars(panel.depths, columns, pitch, left, y + 18, most)
        y += 18 + BARS + 34
    width = max(left + len(columns) * pitch + tail + MARGIN, NARROWEST)
    if path := next((panel.path() for panel in panels if panel.chosen is not None), None):
        body += story(path, ramp, MARGIN, y, width - 2 * MARGIN)
        y += story_height(path)
    return body, width, y


def _axis(columns: dict[int, int], pitch: float, x: float, y: float) -> Iterator[str]:
    """The depths' numbers, as many as there is room for, and what the bars below are."""
    every = next(step for step in (1, 2, 5, 10) if step * pitch >= 24)
    yield text(x - 4, y, "depth", "m end")
    for depth, column in columns.items():
        if column % every == 0 or column == 1:
            yield text(x + column * pitch, y, str(depth), "m mid")
    y += 26
    yield text(MARGIN, y, "KV tokens on the frontier", "part")
    yield element("rect", x=MARGIN + 196, y=y - 9, width=10, height=10, class_="grown")
    yield text(MARGIN + 211, y, "grown", "m")
    yield element("rect", x=MARGIN + 254, y=y - 9, width=10, height=10, class_="kept")
    yield text(MARGIN + 269, y, "kept", "m")
