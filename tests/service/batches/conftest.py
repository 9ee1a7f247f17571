import pytest
from structlog.testing import capture_logs

from service.batches import batches
from service.settings import Settings
from tests.redis_server import stored
from tests.service.batches.services import services, world_of


@pytest.fixture
async def service():
    async with services() as running:
        yield running


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(batches, "PAUSE", 0.02)
    with capture_logs():
        yield


@pytest.fixture
async def world():
    async with world_of(stored(Settings()), "http://127.0.0.1:9", batches_open=2) as alone:
        yield alone
