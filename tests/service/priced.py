"""A service whose models have a config.json, hardware and a price, or lack one of them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.service.live import Live, live

NUMBERS = {
    "params": 8.19e9,
    "active_params": 7.57e9,
    "num_layers": 36,
    "num_attention_heads": 32,
    "num_kv_heads": 8,
    "head_dim": 128,
}
PLAN = {"prompt_tokens": 512, "output_tokens": 4096, "samples": 16, "concurrency": 2}

LLAMA = {
    "model_type": "llama",
    "dtype": "bfloat16",
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
}


@asynccontextmanager
async def priced_models(folder: Path) -> AsyncGenerator[Live]:
    """The service; what its models' paths hold lies in `folder`, by name."""
    for name, config in {"small": LLAMA, "strange": {"model_type": "rwkv"}}.items():
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(config))
    (folder / "broken").mkdir()
    (folder / "broken" / "config.json").write_text("{")
    urls = ["http://127.0.0.1:9"]
    small = {"urls": urls, "path": str(folder / "small")}
    paid = {"hardware": "h100-sxm", "accelerators": 2, "usd_per_hour": 3.6}
    models = [
        {"name": "small", **small, **paid},
        {"name": "bare", **small},
        {"name": "quantised", **small, **paid, "weight_bytes": 1, "kv_bytes": 1},
        {"name": "misnamed", **small, "hardware": "h100"},
        {"name": "no-path", "urls": urls, "hardware": "l4"},
        {"name": "no-config", "urls": urls, "path": str(folder), "hardware": "l4"},
        {"name": "broken", "urls": urls, "path": str(folder / "broken"), "hardware": "l4"},
        {"name": "strange", "urls": urls, "path": str(folder / "strange"), "hardware": "l4"},
    ]
    async with live(models=models) as running:
        yield running


def paid(folder: Path, hardware: str = "h100-sxm", usd_per_hour: float | None = 3.6) -> dict[str, Any]:
    """What a model's configuration says of its cost; its config.json lies in `folder` from now on."""
    (folder / "config.json").write_text(json.dumps(LLAMA))
    return {"path": str(folder), "hardware": hardware, "usd_per_hour": usd_per_hour}
