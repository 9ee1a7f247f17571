"""What the cost law needs to know of a model: its shape, from numbers or from a Hugging Face `config.json`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from budgets.checks import check_number
from budgets.config_json import ConfigJson


@dataclass(frozen=True, slots=True)
class LatentAttention:
    """Multi-head latent attention (DeepSeek-V2 2405.04434): a position's KV of a layer is one vector of
    `rank` + `rope_dim` elements for all heads; decoding attends to it as it lies (weights absorbed)."""

    rank: int
    rope_dim: int

    def __post_init__(self) -> None:
        check_number("rank", self.rank, least=1, whole=True)
        check_number("rope_dim", self.rope_dim, whole=True)


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A decoder as the cost law sees it.

    `params`: all of them. `active_params`: those multiplied for one generated token (of a mixture of experts those of
    the routed ones; without an input embedding that is looked up). `head_dim`: of queries, keys and values; with
    latent attention the mean of query and value. `weight_bytes`, `kv_bytes`: mean bytes of a parameter and of an
    element of the KV cache.
    `lookup_params`: the input embedding where it is a matrix of its own. `head_params`: the output head, part of
    `active_params`, needed where a token is sampled and for no other token of a prompt. `num_experts`,
    `experts_per_token`: routed ones of a layer; 0: unknown or none. Of the layers, `sliding_layers` attend to
    the last `sliding_window` positions alone.

    Raises ValueError, naming the field, for what is not a finite number in range, for more active than all
    parameters, and for attention heads that KV heads do not divide.
    """

    params: float
    active_params: float
    num_layers: int
    num_attention_heads: int
    num_kv_heads: int
    head_dim: float
    weight_bytes: float = 2.0
    kv_bytes: float = 2.0
    lookup_params: float = 0.0
    head_params: float = 0.0
    num_experts: int = 0
    experts_per_token: int = 0
    latent: LatentAttention | None = None
    sliding_window: int | None = None
    sliding_layers: int = 0

    def __post_init__(self) -> None:
        for name in ("params", "active_params", "head_dim"):
            check_number(name, getattr(self, name), above=True)
        for name in ("num_layers", "num_attention_heads", "num_kv_heads"):
            check_number(name, getattr(self, name), least=1, whole=True)
        for name in ("weight_bytes", "kv_bytes"):
            check_number(name, getattr(self, name), above=True, most=16)
        for name in ("lookup_params", "head_params"):
            check_number(name, getattr(self, name))
        check_number("num_experts", self.num_experts, whole=True)
        check_number("experts_per_token", self.experts_per_token, most=self.num_experts, whole=True)
        check_number("sliding_layers", self.sliding_layers, most=self.num_layers, whole=True)
        if self.num_attention_heads % self.num_kv_heads:
            raise ValueError(
                f"num_attention_heads ({self.num_attention_heads}) must be a multiple of "
                f"num_kv_heads ({self.num_kv_heads})"
            )
        if self.active_params + self.lookup_params > self.params * (1 + 1e-9):
            raise ValueError("active_params must be at most params (less lookup_params, where given)")
        if self.head_params > self.active_params:
            raise ValueError("head_params are part of active_params: give no more of them")
        if self.sliding_layers:
            check_number("sliding_window", self.sliding_window, least=1, whole=True)

    @property
    def layer_groups(self) -> tuple[tuple[int, float], ...]:
        """How many layers attend to how many of the last positions: all of them (inf), or a window."""
        full = (self.num_layers - self.sliding_layers, math.inf)
        if self.sliding_window is None or not self.sliding_layers:
            return (full,)
        sliding = (self.sliding_layers, float(self.sliding_window))
        return (full, sliding) if full[0] else (sliding,)

    @property
    def kv_elements(self) -> float:
        """Elements of the KV cache that a position takes in one layer."""
        if self.latent is not None:
            return self.latent.rank + self.latent.rope_dim
        return 2 * self.num_kv_heads * self.head_dim

    @property
    def kv_bytes_per_token(self) -> float:
        """Bytes of KV cache that a position takes in all layers."""
        return self.num_layers * self.kv_elements * self.kv_bytes

    @property
    def prefill_attention_flops(self) -> float:
        """FLOP in one layer for a prompt's token to attend to one position: 4 · heads · head_dim."""
        return 4 * self.num_attention_heads * self.head_dim

    @property
    def decode_attention_flops(self) -> float:
        """FLOP in one layer for a generated token to attend to one position.

        With latent attention scores and values are taken in the latent space, which is wider than a head.
        """
        if self.latent is not None:
            return 2 * self.num_attention_heads * (2 * self.latent.rank + self.latent.rope_dim)
        return self.prefill_attention_flops

    def weight_bytes_read(self, tokens: float) -> float:
        """Bytes of weights that one pass over `tokens` tokens reads, whatever sequences they belong to.

        Everything that is not a routed expert is read once; each routed expert with the probability that one of the
        tokens is sent to it, tokens being sent to experts evenly and independently: 1 − (1 − k/E)^tokens. Where the
        number of experts is unknown, all parameters are taken for experts: one token reads `active_params`, many
        tokens everything.
        """
        share = (
            self.experts_per_token / self.num_experts
            if self.num_experts
            else self.active_params / (self.params - self.lookup_params)
        )
        if share >= 1:
            return self.active_params * self.weight_bytes
        multiplied = self.params - self.lookup_params
        routed = max(0.0, multiplied - self.active_params) / (1 - share)
        touched = -math.expm1(tokens * math.log1p(-share))
        return (multiplied - routed + routed * touched) * self.weight_bytes

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], *, weight_bytes: float | None = None, kv_bytes: float | None = None
    ) -> ModelShape:
        """The shape of a text decoder from its `config.json`, parameters counted from its matrices.

        Norms and biases, under 0.1 % of them, are left out; so are vision towers and heads that predict further tokens.
        `weight_bytes` and `kv_bytes` default to what the file says: its quantisation and its dtype. Families:
        `budgets.config_json.FAMILIES`. Raises ValueError, naming the field and the mend.
        """
        read = ConfigJson(config)
        hidden, layers = read.count("hidden_size"), read.layers
        embedding = read.count("vocab_size") * hidden
        tied = read.flag("tie_word_embeddings", False)
        experts, per_token, expert, shared_mlps = _mlps(read, hidden)
        moe_layers = read.moe_layers if experts else 0
        routed = moe_layers * experts * expert
        matrices = layers * _attention(read, hidden) + shared_mlps + routed
        params = matrices + embedding * (1 if tied else 2)
        idle = moe_layers * (experts - per_token) * expert
        lookup = 0 if tied else embedding
        heads = read.count("num_attention_heads")
        return cls(
            params=params,
            active_params=params - lookup - idle,
            num_layers=layers,
            num_attention_heads=heads,
            num_kv_heads=read.count("num_key_value_heads", heads),
            head_dim=_head_dim(read, hidden),
            weight_bytes=_mean_bytes(read, params, matrices, routed)
            if weight_bytes is None
            else weight_bytes,
            kv_bytes=read.dtype_bytes if kv_bytes is None else kv_bytes,
            lookup_params=lookup,
            head_params=embedding,
            num_experts=experts,
            experts_per_token=per_token,
            latent=_latent(read),
            sliding_window=read.count("sliding_window") if read.sliding_layers else None,
            sliding_layers=read.sliding_layers,
        )


def _head_dim(read: ConfigJson, hidden: int) -> float:
    if _latent(read) is not None:
        query = read.count("qk_nope_head_dim") + read.count("qk_rope_head_dim")
        return (query + read.count("v_head_dim")) / 2
    heads = read.count("num_attention_heads")
    if not read.has("head_dim") and hidden % heads:
        raise ValueError(
            "config.json has no head_dim, and num_attention_heads does not divide hidden_size: add it"
        )
    return read.count("head_dim", hidden // heads)


def _latent(read: ConfigJson) -> LatentAttention | None:
    if not read.has("kv_lora_rank"):
        return None
    return LatentAttention(read.count("kv_lora_rank"), read.count("qk_rope_head_dim"))


def _attention(read: ConfigJson, hidden: int) -> float:
    """Parameters of one layer's attention."""
    heads = read.count("num_attention_heads")
    latent = _latent(read)
    if latent is None:
        width = _head_dim(read, hidden)
        return 2 * hidden * width * (heads + read.count("num_key_value_heads", heads))
    nope, value = read.count("qk_nope_head_dim"), read.count("v_head_dim")
    query = heads * (nope + latent.rope_dim)
    queries = hidden * query
    if read.has("q_lora_rank"):
        queries = read.count("q_lora_rank") * (hidden + query)
    latents = hidden * (latent.rank + latent.rope_dim)
    return queries + latents + latent.rank * heads * (nope + value) + heads * value * hidden


def _mlps(read: ConfigJson, hidden: int) -> tuple[int, int, int, int]:
    """Routed experts of a layer, how many a token takes, parameters of one, and those of all other (gated) MLPs."""
    experts = 0
    for name in ("num_experts", "n_routed_experts", "num_local_experts"):
        experts = experts or read.count(name, 0, least=0)
    layers = read.layers
    if not experts:
        return 0, 0, 0, layers * 3 * hidden * read.count("intermediate_size")
    per_token = read.count("num_experts_per_tok")
    check_number("num_experts_per_tok in config.json", per_token, most=experts)
    expert = 3 * hidden * read.count("moe_intermediate_size", read.count("intermediate_size", 0))
    shared = read.count("n_shared_experts", 0, least=0) * expert
    shared += 3 * hidden * read.count("shared_expert_intermediate_size", 0, least=0)
    moe_layers = read.moe_layers
    dense = (
        (layers - moe_layers)
        * 3
        * hidden
        * read.count("intermediate_size", 0 if moe_layers == layers else None)
    )
    return experts, per_token, expert, dense + moe_layers * (shared + hidden * experts)


def _mean_bytes(read: ConfigJson, params: float, matrices: float, routed: float) -> float:
    """Mean bytes of a parameter, quantised ones and others."""
    quantised = read.quantised_bytes
    if quantised is None:
        return read.dtype_bytes
    method, width = quantised
    share = (routed if method == "mxfp4" else matrices) / params
    return share * width + (1 - share) * read.dtype_bytes
