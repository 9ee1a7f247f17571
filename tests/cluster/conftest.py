from collections.abc import Generator
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster, cluster
from tests.cluster.hostile import Fort, fort

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All that stands here starts real servers, and comes after the fast tests."""
    mine = [item for item in items if HERE in item.path.parents]
    for item in mine:
        item.add_marker(pytest.mark.cluster)
        item.add_marker(pytest.mark.timeout(300))
    items[:] = [item for item in items if item not in mine] + mine


@pytest.fixture(scope="session")
def whole(tmp_path_factory) -> Generator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster"), limits={"engine_waiting": 0.125}) as found:
        yield found


@pytest.fixture
def house(whole: Cluster) -> Generator[Cluster]:
    """The cluster, healed before the test."""
    whole.heal()
    yield whole
    whole.heal()


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Generator[Fort]:
    """A cluster that asks for keys, and knows who attacks it."""
    with fort(tmp_path_factory.mktemp("fort")) as found:
        yield found


@pytest.fixture
def unharmed(place: Fort) -> Generator[None]:
    """After the test nothing has ended, grown or leaked."""
    yield
    place.unharmed()
