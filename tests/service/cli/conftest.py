import pytest
from structlog.testing import capture_logs


@pytest.fixture(autouse=True)
def quiet_service():
    """The service runs beside the command line here, and its log lines are no output of a command."""
    with capture_logs():
        yield
