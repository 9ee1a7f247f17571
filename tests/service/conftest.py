import pytest

from tests.service.live import live
from tests.service.priced import priced_models


@pytest.fixture
async def served():
    async with live() as running:
        yield running


@pytest.fixture
async def priced(tmp_path):
    async with priced_models(tmp_path) as running:
        yield running
