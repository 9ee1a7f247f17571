import pytest

from tests.service.live import live


@pytest.fixture
async def served():
    async with live() as running:
        yield running
