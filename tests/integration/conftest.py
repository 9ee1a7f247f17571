from pathlib import Path

import pytest

from tests.integration.servers import BUNDLED, running, tiny_model

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All that stands here is integration, and comes after everything else."""
    mine = [item for item in items if HERE in item.path.parents]
    for item in mine:
        item.add_marker(pytest.mark.integration)
        item.add_marker(pytest.mark.timeout(600))
    items[:] = [item for item in items if item not in mine] + mine


@pytest.fixture(scope="session")
def logs(tmp_path_factory):
    return tmp_path_factory.mktemp("vllm-logs")


@pytest.fixture(scope="session")
def tiny_vllm(logs):
    """A two-layer random model: quick, and its samples hardly ever end by themselves."""
    with running(tiny_model("generator"), logs) as server:
        yield server


@pytest.fixture(scope="session")
def reward_vllm(logs):
    """A small random reward model on vLLM's pooling server."""
    with running(tiny_model("reward"), logs, runner="pooling") as server:
        yield server


@pytest.fixture(scope="session")
def process_reward_vllm(logs):
    """A small random token classifier of two classes: vLLM answers a row of probabilities for each token."""
    with running(tiny_model("process_reward"), logs, runner="pooling") as server:
        yield server


@pytest.fixture(scope="session")
def last_row_vllm(logs):
    """The same model, told to answer the last token's row alone: then vLLM uses its prefix cache."""
    extra = ("--pooler-config", '{"task": "classify"}')
    with running(tiny_model("process_reward"), logs, runner="pooling", extra=extra) as server:
        yield server


@pytest.fixture(scope="session")
def embedding_vllm(logs):
    """The random generator's last hidden states, which say nothing, but are of the right form."""
    with running(tiny_model("generator"), logs, runner="pooling") as server:
        yield server


@pytest.fixture(scope="session")
def bundled_vllm(logs):
    """The bundled model, which answers."""
    with running(BUNDLED, logs) as server:
        yield server
