"""The part of a tree of gains and prizes that is worth most: an integer program, solved by branch and bound.

Its linear relaxation is solved by HiGHS. After the reductions it mostly comes out whole, or nearly so.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import accumulate, chain
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from strategies.selection_reduction import Core, PrizeTree

if TYPE_CHECKING:
    from highspy import HighsLp

TOLERANCE = 1e-10
"""How exactly HiGHS keeps to rows and optimality, its finest; the largest gain or prize is 1 to it."""

EXACT = 10 * TOLERANCE
"""A part that falls no further short of a bound is best: the rest is rounding."""


def best_part(tree: PrizeTree, deadline: float) -> tuple[set[int], bool]:
    """The part of the tree that is worth most of those that carry a cluster, and whether that is proven.

    From `deadline` (of the monotonic clock) on the best found so far stands, which may be none: the empty set.
    """
    # A part holds its root. Where the root alone is best, what is below each of its children is a loss, and losses add
    # up: the best part with anything in it lies below one child, and holds that child. So that is a root to try.
    children, bounds, path = tree.children(), tree.bounds(), tree.path_gains()
    best, worth, proven = set[int](), -inf, True
    roots = [(-bounds[0], 0)]
    while roots and -roots[0][0] > worth:
        root = heappop(roots)[1]
        if root and monotonic() >= deadline:
            return best, False
        above = path[root] - tree.gains[root]
        alone = bounds[root] == tree.gains[root]
        part, sure = ({root}, True) if alone else _best_part_below(tree, root, deadline)
        proven = proven and sure
        if not any(tree.clusters[node] for node in part):
            for child in children[root]:
                heappush(roots, (-path[root] - bounds[child], child))
        elif (found := above + tree.worth(part)) > worth:
            best, worth = part, found
    return best, proven


def _best_part_below(tree: PrizeTree, root: int, deadline: float) -> tuple[set[int], bool]:
    core = Core(tree, root)
    core.reduce(deadline)
    part, proven = _decide(core, deadline) if core.live else (set[int](), True)
    return core.restored(part), proven


def _decide(core: Core, deadline: float) -> tuple[set[int], bool]:
    """The best part of the live nodes, by branch and bound, and whether that is proven."""
    best = _greedy_part(core)
    worth = core.worth(best)
    relaxation = _Relaxation(core)
    # Which nodes are fixed, and a bound on what that allows; the last is tried first.
    branches: list[tuple[float, dict[int, float]]] = [(inf, {})]
    while branches:
        bound, fixed = branches.pop()
        if bound <= worth + relaxation.slack:
            continue
        if (seconds := deadline - monotonic()) <= 0:
            return best, False
        solved = relaxation.solve(fixed, seconds)
        if solved is None:
            return best, False
        bound, values = solved
        part = core.closed([node for node, value in values.items() if value > 0.5 and core.clusters[node]])
        if (found := core.worth(part)) > worth:
            best, worth = part, found
        node, value = min(values.items(), key=lambda item: abs(item[1] - 0.5))
        if 1e-6 < value < 1 - 1e-6:
            branches += [(bound, {**fixed, node: side}) for side in (0.0, 1.0)]
    return best, True


def _greedy_part(core: Core) -> set[int]:
    """A part of the live nodes, found quickly: each missing cluster is promised to the carrier nearest to the part.

    What pays with its promises is taken, until nothing more does.
    """
    part: set[int] = set()
    covered = set(core.clusters[core.root])
    carriers = core.carriers()
    while True:
        reach = {core.root: 0.0}
        for node in core.live:
            reach[node] = 0.0 if node in part else reach[core.parents[node]] + core.gains[node]
        worth = {node: 0.0 if node in part else core.gains[node] for node in core.live}
        for cluster, nodes in carriers.items():
            if cluster not in covered:
                worth[max(nodes, key=reach.__getitem__)] += core.prize
        worth[core.root] = 0.0
        for node in reversed(core.live):
            if worth[node] > 0:
                worth[core.parents[node]] += worth[node]
        before = len(part)
        for node in core.live:
            if worth[node] > 0 and (core.parents[node] in part or core.parents[node] == core.root):
                part.add(node)
                covered |= core.clusters[node]
        if len(part) == before:
            return part


class _Relaxation:
    """The core's linear relaxation. Solving it again with other nodes fixed goes on from the last solution."""

    def __init__(self, core: Core) -> None:
        from highspy import Highs

        self._columns = {node: column for column, node in enumerate(core.live)}
        self._fixed: dict[int, float] = {}
        self._scale = max(core.prize, *(-core.gains[node] for node in core.live))
        self.slack = EXACT * self._scale
        solver = self._solver = Highs()  # type: ignore[no-untyped-call]
        solver.setOptionValue("output_flag", False)
        solver.setOptionValue("threads", 1)
        solver.setOptionValue("presolve", "off")  # the reductions leave it little
        solver.setOptionValue("primal_feasibility_tolerance", TOLERANCE)
        solver.setOptionValue("dual_feasibility_tolerance", TOLERANCE)
        solver.passModel(_program(core, self._scale))

    def solve(self, fixed: dict[int, float], seconds: float) -> tuple[float, dict[int, float]] | None:
        """With the nodes of `fixed` in (1) or out (0): a bound on what a part is worth, and how far each node is in.

        None where that takes longer than `seconds`.
        """
        from highspy import HighsModelStatus

        for node in self._fixed.keys() | fixed.keys():
            if (value := fixed.get(node)) != self._fixed.get(node):
                lower, upper = (0.0, 1.0) if value is None else (value, value)
                self._solver.changeColBounds(self._columns[node], lower, upper)
        self._fixed = fixed
        # HiGHS's clock goes on from one solution to the next.
        self._solver.setOptionValue("time_limit", self._solver.getRunTime() + seconds)
        self._solver.run()
        if self._solver.getModelStatus() != HighsModelStatus.kOptimal:
            return None
        values = dict(zip(self._columns, self._solver.getSolution().col_value, strict=False))
        return self._solver.getInfo().objective_function_value * self._scale, values


def _program(core: Core, scale: float) -> HighsLp:
    """The core as a linear program. Its columns, all from 0 to 1, are the live nodes, then coverings.

    A covering says that a cluster is carried below a node where paths to its carriers part; at the root, that it is
    carried at all. Each row says that a column is at most the sum of others: a node is in only if its parent is; a
    covering counts only if its node is in, and only as far as the ways down from there are. (A cluster that counts as
    far as its carriers together would be a program too, but there two half carriers share half a path.)
    """
    from highspy import HighsLp, MatrixFormat, ObjSense

    column = {node: index for index, node in enumerate(core.live)}
    gains = [core.gains[node] for node in core.live]
    rows = [
        [column[node], column[core.parents[node]]] for node in core.live if core.parents[node] != core.root
    ]
    for nodes in core.carriers().values():
        ways = {node: [column[node]] for node in nodes}
        below = [-node for node in nodes]
        heapify(below)
        while (node := -heappop(below)) != core.root:
            down = ways.pop(node)
            if len(down) > 1:
                rows += [[len(gains), column[node]], [len(gains), *down]]
                down = [len(gains)]
                gains.append(0.0)
            parent = core.parents[node]
            if parent not in ways:
                ways[parent] = []
                heappush(below, -parent)
            ways[parent] += down
        rows.append([len(gains), *ways[core.root]])
        gains.append(core.prize)
    starts = [0, *accumulate(map(len, rows))]
    signs = [-1.0] * starts[-1]
    for start in starts[:-1]:
        signs[start] = 1.0
    program = HighsLp()
    program.num_col_, program.num_row_ = len(gains), len(rows)
    program.sense_ = ObjSense.kMaximize
    program.col_cost_ = [gain / scale for gain in gains]
    program.col_lower_, program.col_upper_ = [0.0] * len(gains), [1.0] * len(gains)
    program.row_lower_, program.row_upper_ = [-inf] * len(rows), [0.0] * len(rows)
    program.a_matrix_.format_ = MatrixFormat.kRowwise
    program.a_matrix_.start_ = starts
    program.a_matrix_.index_ = list(chain.from_iterable(rows))
    program.a_matrix_.value_ = signs
    return program
