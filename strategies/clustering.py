"""Which steps say the same: clusters of their embeddings, or of their texts."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from verifiers.formats.text import read_text


def cluster_vectors(vectors: Sequence[Sequence[float]], distance: float = 0.05) -> list[int]:
    """A cluster label for each vector, from 0 on in the order in which clusters are first seen.

    Average linkage on cosine distance (0 the same direction, 2 opposite ones): clusters join as long as their vectors
    are `distance` apart on average, or less. Vectors must be of one length, and finite. Those of all zeros have no
    direction: they are a cluster of their own. It takes time and memory by the square of the vectors: call it in a
    thread. Source: ETS, arXiv 2502.13575.
    """
    import numpy as np

    rows = np.asarray(vectors, dtype=np.float64)
    sizes = np.abs(rows).max(axis=1, initial=0.0) if len(rows) else np.zeros(0)
    directed = np.flatnonzero(sizes)
    labels: list[Hashable] = [None] * len(rows)
    if len(directed) < 2:
        for row in directed:
            labels[row] = 0
    else:
        from scipy.cluster.hierarchy import fcluster, linkage

        # Divided by their largest entries, no vector is too long or too short to square.
        tree = linkage(rows[directed] / sizes[directed, None], method="average", metric="cosine")
        for row, label in zip(directed, fcluster(tree, distance, criterion="distance").tolist(), strict=True):
            labels[row] = label
    return _numbered(labels)


def cluster_texts(texts: Iterable[str]) -> list[int]:
    """A cluster label for each text, from 0 on in the order in which clusters are first seen.

    Texts are of one cluster if they are equal but for case, white space, and quotes, markup and stops around them.
    """
    return _numbered(map(read_text, texts))


def _numbered(labels: Iterable[Hashable]) -> list[int]:
    """`labels`, each replaced by how many others were seen before it."""
    seen: dict[Hashable, int] = {}
    return [seen.setdefault(label, len(seen)) for label in labels]
