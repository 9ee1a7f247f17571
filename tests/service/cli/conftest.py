import pytest
from structlog.testing import capture_logs

from tests.service.cli.simulated import simulated


@pytest.fixture(autouse=True)
def quiet_service():
    """The service runs beside the command line here, and its log lines are no output of a command."""
    with capture_logs():
        yield


@pytest.fixture
async def world():
    """A service in front of a simulated world of its own."""
    async with simulated() as running:
        yield running
