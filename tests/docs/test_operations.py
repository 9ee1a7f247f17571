"""operations.md: the tests that it names are there, and its example counts the packages that there are."""

import ast
import re
import tomllib

from packaging.requirements import Requirement

from tests.reference import ROOT

PAGE = (ROOT / "docs/operations.md").read_text()


def test_each_fault_names_tests_that_are_there():
    faults = PAGE.partition("## Faults it survives")[2].partition("\n## ")[0]
    rows = [line for line in faults.splitlines() if line.startswith("| ")][2:]
    for row in rows:
        named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", row)
        assert named, row
        for file, name in named:
            tree = ast.parse((ROOT / "tests" / file).read_text())
            assert not name or name in {getattr(node, "name", "") for node in tree.body}, (file, name)


def test_doctors_example_counts_all_packages():
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    needed = [text for text in named if not (marker := Requirement(text).marker) or marker.evaluate()]
    assert f"with all {len(needed)} packages it needs" in PAGE
