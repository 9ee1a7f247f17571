"""A model's `config.json`, read with every field checked and every error naming the field and the mend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from budgets.checks import check_number

_MOST = 10_000_000
_MEND = "correct the model's config.json, or give the model's shape in numbers"

FAMILIES = (
    *("deepseek_v2", "deepseek_v3", "gemma3_text", "gpt_oss", "llama", "mistral", "mixtral"),
    *("olmo2", "phi3", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "smollm3"),
)
"""Values of `model_type` whose parameters can be counted."""

_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    # What transformers fills in where a published config leaves it out.
    "gemma3_text": {
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "vocab_size": 262_208,
        "sliding_window": 4096,
        "sliding_window_pattern": 6,
        "tie_word_embeddings": True,
    },
    "smollm3": {"tie_word_embeddings": True},
}

_DTYPE_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}


class ConfigJson:
    """The fields of a text decoder; of a model with other parts, those of its `text_config`.

    Raises ValueError where it is no mapping or its `model_type` is none of `FAMILIES`.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        if not isinstance(config, Mapping):
            raise ValueError(f"a config.json must be an object, not {type(config).__name__}: {_MEND}")
        text = config.get("text_config", config)
        if not isinstance(text, Mapping):
            raise ValueError(f"text_config in config.json must be an object: {_MEND}")
        self.family = text.get("model_type", config.get("model_type"))
        if not isinstance(self.family, str) or self.family not in FAMILIES:
            known = ", ".join(FAMILIES)
            shown = repr(self.family)[:60]
            raise ValueError(
                f"model_type {shown} in config.json is none whose parameters can be counted ({known}): "
                "give the model's shape in numbers"
            )
        self._whole = config
        self._text = {**_DEFAULTS.get(self.family, {}), **text}

    def has(self, name: str) -> bool:
        return self._text.get(name) is not None

    def count(self, name: str, default: int | None = None, *, least: int = 1) -> int:
        """A whole number from `least` to ten million; without one and without a default, ValueError."""
        value = self._text.get(name)
        if value is None:
            if default is None:
                raise ValueError(f"config.json has no {name}: add it, or give the model's shape in numbers")
            return default
        check_number(f"{name} in config.json", value, least=least, most=_MOST, whole=True)
        return int(value)

    def flag(self, name: str, default: bool) -> bool:
        value = self._text.get(name, default)
        if not isinstance(value, bool):
            raise ValueError(f"{name} in config.json must be true or false, not {repr(value)[:60]}: {_MEND}")
        return value

    def entries(self, name: str) -> Sequence[Any]:
        """A list, empty where there is none; at most one entry a layer."""
        value = self._text.get(name) or ()
        if not isinstance(value, list | tuple) or len(value) > self.layers:
            raise ValueError(f"{name} in config.json must be a list of at most one entry a layer: {_MEND}")
        return value

    @property
    def layers(self) -> int:
        layers = self.count("num_hidden_layers")
        check_number("num_hidden_layers in config.json", layers, most=10_000)
        return layers

    @property
    def sliding_layers(self) -> int:
        """Layers that attend to the last `sliding_window` positions alone."""
        # Qwen2 and Qwen3 have a window that this flag keeps closed.
        if not self.has("sliding_window") or not self.flag("use_sliding_window", True):
            return 0
        if types := self.entries("layer_types"):
            return sum(kind == "sliding_attention" for kind in types)
        if self.family == "gemma3_text":
            return self.layers - self.layers // self.count("sliding_window_pattern")
        if self.family == "gpt_oss":
            return (self.layers + 1) // 2
        if self.family.startswith("qwen"):
            return max(0, self.layers - self.count("max_window_layers", 28, least=0))
        return self.layers

    @property
    def moe_layers(self) -> int:
        """Layers with experts, of a model that has some."""
        if self.family.startswith("deepseek"):
            dense, every = self.count("first_k_dense_replace", 0, least=0), self.count("moe_layer_freq", 1)
            return sum(i >= dense and i % every == 0 for i in range(self.layers))
        plain, every = self.entries("mlp_only_layers"), self.count("decoder_sparse_step", 1)
        return sum(i not in plain and (i + 1) % every == 0 for i in range(self.layers))

    @property
    def dtype_bytes(self) -> float:
        """Bytes of a weight that is not quantised; 2 where the file does not say."""
        for where in (self._text, self._whole):
            name = where.get("dtype") or where.get("torch_dtype")
            if name is not None:
                if not isinstance(name, str) or name not in _DTYPE_BYTES:
                    known = ", ".join(_DTYPE_BYTES)
                    raise ValueError(
                        f"dtype {repr(name)[:60]} in config.json is none of {known}: give weight_bytes"
                    )
                return _DTYPE_BYTES[name]
        return 2.0

    @property
    def quantised_bytes(self) -> tuple[str, float] | None:
        """How the weights are quantised and the bytes each then takes, scales included; None where they are not.

        `mxfp4` holds for experts alone, the others for all but the embedding and the output head.
        """
        settings = self._whole.get("quantization_config")
        if settings is None:
            return None
        if not isinstance(settings, Mapping):
            raise ValueError(f"quantization_config in config.json must be an object: {_MEND}")
        method, bits = settings.get("quant_method"), settings.get("bits")
        if method == "fp8":
            return "fp8", 1.0
        if method == "mxfp4":
            return "mxfp4", 4.25 / 8  # a scale of 8 bits for every 32 weights
        if method in ("gptq", "awq") and bits in (2, 3, 4, 8):
            return method, (bits + 0.25) / 8  # a scale and a zero point of 16 bits for every 128 weights
        raise ValueError(
            f"quantization_config in config.json is of a kind that is not known ({repr(method)[:60]}): "
            "give weight_bytes"
        )
