"""Colours and letters of all pictures, for light and dark pages; no variables, which some viewers do not know."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
text { font-family: -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; font-size: 11px; }
text { fill: #1f2328; }
.page { fill: #ffffff; }
.head { font-size: 20px; font-weight: 600; }
.name { font-size: 13px; }
.part { font-size: 13px; font-weight: 600; }
.m { fill: #59636e; }
.mid { text-anchor: middle; }
.end { text-anchor: end; }
.edge { fill: none; stroke: #8c959f; }
.lost { fill: none; stroke: #d0d7de; }
.way { fill: none; stroke: #d1480a; stroke-linecap: round; stroke-linejoin: round; }
.node { stroke: #424a53; stroke-width: 0.8; }
.none { fill: #ffffff; stroke: #59636e; stroke-dasharray: 2 1.5; }
.pruned { opacity: 0.38; }
.recalled { stroke-width: 1.8; stroke-dasharray: 2.4 1.8; }
.ring { stroke: #d1480a; stroke-width: 2.4; }
.prompt { fill: #59636e; }
.grid { stroke: #d8dee4; stroke-width: 1; }
.grown { fill: #b6d6f2; }
.kept { fill: #0969a8; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .page { fill: #0d1117; }
  .m { fill: #9198a1; }
  .edge { stroke: #7d8590; }
  .lost { stroke: #30363d; }
  .node { stroke: #b1bac4; }
  .none { fill: #0d1117; stroke: #9198a1; }
  .way, .ring { stroke: #ff8a4c; }
  .prompt { fill: #9198a1; }
  .grid { stroke: #30363d; }
  .grown { fill: #1f4466; }
  .kept { fill: #58a6ff; }
}
"""
