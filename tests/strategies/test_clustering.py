from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.clustering import cluster_texts, cluster_vectors


def at(degrees: float, length: float = 1.0) -> list[float]:
    return [length * math.cos(math.radians(degrees)), length * math.sin(math.radians(degrees))]


def test_vectors_of_about_one_direction_are_one_cluster() -> None:
    # 1 - cos(18 degrees) is 0.049, 1 - cos(19 degrees) is 0.054.
    assert cluster_vectors([at(90), at(0), at(18, length=7.0), at(108)]) == [0, 1, 1, 0]
    assert cluster_vectors([at(0), at(19)]) == [0, 1]
    assert cluster_vectors([at(0), at(19)], distance=0.06) == [0, 0]


def test_linkage_is_by_the_average_distance() -> None:
    """10 is near to 0 and to 27; but to both of the pair (0, 10) the third is 0.077 away on average."""
    assert cluster_vectors([at(0), at(10), at(27)]) == [0, 0, 1]


def test_opposite_vectors_are_apart() -> None:
    assert cluster_vectors([at(0), at(180)], distance=1.9) == [0, 1]


def test_vectors_of_zeros_are_a_cluster_of_their_own() -> None:
    assert cluster_vectors([[0, 0], at(5), [0, 0], at(0)]) == [0, 1, 0, 1]
    assert cluster_vectors([[0, 0], [0, 0]]) == [0, 0]
    assert cluster_vectors([[0, 0], at(5)]) == [0, 1]


@pytest.mark.parametrize(("vectors", "labels"), [([], []), ([[1.0, 2.0]], [0]), ([[0.0]], [0])])
def test_none_and_one_are_handled(vectors: list[list[float]], labels: list[int]) -> None:
    assert cluster_vectors(vectors) == labels


def test_lengths_at_the_ends_of_the_range_are_safe() -> None:
    assert cluster_vectors([[1e-300, 0], [1e300, 1e290], [0, 1e-320]]) == [0, 0, 1]


@given(st.lists(st.lists(st.floats(-10, 10), min_size=3, max_size=3), max_size=12))
def test_labels_are_numbered_as_they_are_first_seen(vectors: list[list[float]]) -> None:
    labels = cluster_vectors(vectors)
    firsts = list(dict.fromkeys(labels))
    assert len(labels) == len(vectors)
    assert firsts == list(range(len(firsts)))


def test_texts_are_one_cluster_where_only_case_and_spacing_differ() -> None:
    texts = ["Add  7 and 8.\n\n", "subtract", "add 7 AND 8", "", "Subtract\t", " \n"]
    assert cluster_texts(texts) == [0, 1, 0, 2, 1, 2]
    assert cluster_texts([]) == []
