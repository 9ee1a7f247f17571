"""Small random-weight models that a real vLLM serves: they cost seconds to build and milliseconds to run.

Imported by the tests, `build` runs this same file with the interpreter of vLLM's environment, which has torch.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, Literal

Kind = Literal["generator", "reward", "process_reward"]

ARCHITECTURES: Final = {
    "generator": "LlamaForCausalLM",
    "reward": "LlamaForSequenceClassification",
    "process_reward": "LlamaForTokenClassification",
}
SEED = 20240917
CONTEXT = 2048


def build(kind: Kind, folder: Path, *, tokenizer: Path, python: Path) -> Path:
    """Write a two-layer Llama with `tokenizer`'s vocabulary to `folder`, unless it is there already.

    `generator` continues text at random (its sequences hardly ever end by themselves); `reward` scores a text with
    one number, `process_reward` each token with the probabilities of two classes. The weights are seeded, so every
    build is the same model.
    """
    if not folder.is_dir():
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        command = [str(python), "-P", __file__, kind, str(tokenizer), str(unfinished)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"building the {kind} model failed:\n{done.stderr[-2000:]}")
        unfinished.rename(folder)
    return folder


def _write(kind: str, tokenizer_folder: str, folder: str) -> None:
    import torch
    import transformers
    from transformers import AutoTokenizer, LlamaConfig

    tokenizer: Any = AutoTokenizer.from_pretrained(tokenizer_folder)
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=CONTEXT,
        # Wide enough that next-token probabilities and rewards differ visibly instead of being near uniform.
        initializer_range=0.3,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        num_labels=2 if kind == "process_reward" else 1,
    )
    model: Any = getattr(transformers, ARCHITECTURES[kind])(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    _write(*sys.argv[1:])
