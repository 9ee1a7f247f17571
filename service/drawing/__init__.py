"""Pictures of runs: an outcome of `/v1/scale` as SVG. `read` it, then `draw` it."""

from __future__ import annotations

from service.drawing.genealogy import TraceError
from service.drawing.page import draw
from service.drawing.read import read

__all__ = ["TraceError", "draw", "read"]
