import json
from pathlib import Path

import pytest

from engines.bundled import PreparationFailed, complete, prepare


def write_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text('{"model": {}}')
    (folder / "chat_template.jinja").write_text("{% for message in messages %}{% endfor %}")
    header = json.dumps(
        {"__metadata__": {}, "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    ).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    return folder


def python_that(script: str, path: Path) -> Path:
    """An interpreter that does `script` instead; `$3` is the folder to write."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_a_whole_folder_is_complete(tmp_path: Path) -> None:
    assert complete(write_model(tmp_path / "model"))
    assert not complete(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "file", ["config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors"]
)
@pytest.mark.parametrize("harm", ["missing", "empty", "cut", "garbage"])
def test_a_folder_with_a_harmed_file_is_not_complete(tmp_path: Path, file: str, harm: str) -> None:
    harmed = write_model(tmp_path / "model") / file
    whole = harmed.read_bytes()
    if harm == "missing":
        harmed.unlink()
    else:
        harmed.write_bytes(
            {"empty": b"", "cut": whole[: len(whole) // 2], "garbage": b"\xff\xfe[1]" * 9}[harm]
        )
    assert not complete(tmp_path / "model")


def test_weights_still_quantized_are_not_complete(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "config.json").write_text('{"quantization_config": {}}')
    assert not complete(folder)


def test_a_complete_folder_is_left_alone(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "models/model")
    prepare(folder, tmp_path / "no-such-python")
    assert complete(folder)


def test_a_folder_appears_whole_and_replaces_a_broken_one(tmp_path: Path) -> None:
    made = write_model(tmp_path / "made")
    folder = tmp_path / "models/model"
    folder.mkdir(parents=True)
    prepare(folder, python_that(f'cp -r "{made}/." "$3"', tmp_path / "python"))
    assert complete(folder)
    assert [entry.name for entry in folder.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("script", ["echo no weights here; exit 1", "echo no weights here"])
def test_a_conversion_that_fails_or_writes_nothing_says_so_and_leaves_nothing(
    tmp_path: Path, script: str
) -> None:
    folder = tmp_path / "models/model"
    with pytest.raises(PreparationFailed, match="no weights here"):
        prepare(folder, python_that(script, tmp_path / "python"))
    assert list(folder.parent.iterdir()) == []
