from pathlib import Path

import pytest

from engines.launch_log import failure, last_word

START = "(EngineCore pid=7) INFO 11-21 23:00:29 [kv_cache_utils.py:23] CPU KV cache size: 23,296 tokens\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ""),
        (START, "CPU KV cache size: 23,296 tokens"),
        (START + "nanobind: leaked 64 types!\n  warnings.warn(\n", "CPU KV cache size: 23,296 tokens"),
        (START + "Loading weights:  0%\rLoading weights: 50%\r", "Loading weights: 50%"),
        ("(APIServer pid=1) INFO 11-21 23:00:29 [a.py:1]   ▄▄ ▄█ █\n", ""),
        (START + "(Worker pid=2) INFO 11-21 23:00:30 [a.py:1] \tbound\n", "bound"),
    ],
)
def test_the_last_word_is_the_last_line_that_tells_of_progress(tmp_path: Path, text: str, said: str) -> None:
    log = tmp_path / "log"
    log.write_text(text)
    assert last_word(log, 0) == said


def test_what_an_earlier_start_wrote_is_not_looked_at(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(START)
    assert last_word(log, len(START)) == ""
    assert "KV cache size" not in str(failure("It ended.", log, len(START)))


@pytest.mark.parametrize(
    ("text", "status", "mend"),
    [
        ("ModuleNotFoundError: No module named 'vllm'", 1, "make serve"),
        (
            "FileNotFoundError: [Errno 2] No such file or directory: '/x/.venv-engine/bin/python'",
            1,
            "make serve",
        ),
        ("ImportError: libnuma.so.1: cannot open shared object file", 1, "apt-get install libnuma1"),
        ("OSError: [Errno 28] No space left on device", 1, "disk is full"),
        (
            "ValueError: To serve at least one request with the models's max seq len (8192)",
            1,
            "smaller max_model_len",
        ),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate", 1, "does not fit into the memory"),
        ("Repo id must be in the form 'repo_name'", 1, "The model is not there"),
        ("", 137, "The system killed it"),
        ("something new", 1, "The log below says why"),
    ],
)
def test_a_failure_names_the_mend_and_shows_the_log(
    tmp_path: Path, text: str, status: int, mend: str
) -> None:
    log = tmp_path / "vllm.log"
    log.write_text(f"first\n{text}\n")
    message = str(failure("vLLM ended.", log, 0, status))
    assert message.startswith("vLLM ended. ")
    assert mend in message
    assert str(log) in message
    assert text in message
