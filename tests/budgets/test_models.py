"""Shapes from `config.json`: parameter counts against published ones, KV sizes, and files that cannot be read."""

import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from budgets.models import LatentAttention, ModelShape
from tests.reference import ROOT

CONFIGS = ROOT / "tests" / "data" / "configs"
LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 100,
}
MIXTURE = LLAMA | {
    "model_type": "qwen3_moe",
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
}


def config(name):
    return json.loads((CONFIGS / f"{name}.json").read_text())


def shape(name):
    return ModelShape.from_config(config(name))


# Totals as the tensors of the published checkpoints have them (the parameter count that the model's hub page shows),
# a tied embedding counted once, and for the models that also read images the language model alone. The same counts
# come out when transformers builds each model from its configuration without weights.
TOTALS = {
    "llama-3.1-8b": 8_030_261_248,
    "qwen2.5-7b": 7_615_616_512,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "qwen3-14b": 14_768_307_200,
    "qwen3-32b": 32_762_123_264,
    "qwen3-30b-a3b": 30_532_122_624,
    "mistral-7b": 7_241_732_096,
    "gemma-3-4b": 3_880_263_168,
    "gemma-3-27b": 27_009_346_304,
    "deepseek-v3": 671_026_404_352,
    "gpt-oss-20b": 20_914_757_184,
    "gpt-oss-120b": 116_829_156_672,
}

# As authors state them, in billions: Llama 3 (2407.21783), Qwen2.5 and Qwen3 model cards, Mistral 7B model card,
# Gemma 3 (2503.19786, table 1: embedding and non-embedding), DeepSeek-V3 (2412.19437), gpt-oss model card (table 1).
STATED = {
    "llama-3.1-8b": 8.03,
    "qwen2.5-7b": 7.61,
    "qwen3-0.6b": 0.6,
    "qwen3-4b": 4.0,
    "qwen3-8b": 8.2,
    "qwen3-14b": 14.8,
    "qwen3-32b": 32.8,
    "qwen3-30b-a3b": 30.5,
    "mistral-7b": 7.24,
    "gemma-3-4b": 0.675 + 3.209,
    "gemma-3-27b": 1.416 + 25.6,
    "deepseek-v3": 671,
    "gpt-oss-20b": 20.91,
    "gpt-oss-120b": 116.83,
}


def test_every_configuration_has_a_published_count():
    assert {path.stem for path in CONFIGS.glob("*.json")} == set(TOTALS)


@pytest.mark.parametrize("name", TOTALS)
def test_parameters_agree_with_the_published_checkpoints(name):
    assert shape(name).params == pytest.approx(TOTALS[name], rel=5e-4)


@pytest.mark.parametrize("name", STATED)
def test_parameters_agree_with_what_the_authors_state(name):
    assert shape(name).params / 1e9 == pytest.approx(STATED[name], rel=0.01)


def test_active_parameters_agree_with_what_the_authors_state():
    # gpt-oss model card, table 1: 3.61 and 5.13 billion, the output head counted and the embedding not, as here.
    assert shape("gpt-oss-20b").active_params / 1e9 == pytest.approx(3.61, rel=0.01)
    assert shape("gpt-oss-120b").active_params / 1e9 == pytest.approx(5.13, rel=0.01)
    # DeepSeek-V3 (2412.19437): 37 billion.
    assert round(shape("deepseek-v3").active_params / 1e9) == 37
    # Qwen3-30B-A3B: 3.3 billion on the model card, cut to one decimal, with the embedding.
    qwen = shape("qwen3-30b-a3b")
    assert math.floor((qwen.active_params + qwen.lookup_params) / 1e8) == 33


def test_dense_models_multiply_all_but_an_embedding_of_its_own():
    tied, untied = shape("qwen3-4b"), shape("qwen3-8b")
    assert tied.active_params == tied.params
    assert untied.active_params == untied.params - untied.lookup_params
    assert untied.lookup_params == untied.head_params == 151936 * 4096
    # Non-embedding parameters of the model cards: 3.6 and 6.95 billion.
    assert (tied.params - tied.head_params) / 1e9 == pytest.approx(3.6, rel=0.01)
    assert (untied.active_params - untied.head_params) / 1e9 == pytest.approx(6.95, rel=0.01)


@pytest.mark.parametrize(
    ("name", "kv_bytes"),
    [
        ("llama-3.1-8b", 32 * 2 * 8 * 128 * 2),
        ("qwen3-32b", 64 * 2 * 8 * 128 * 2),
        # DeepSeek-V2 2405.04434, table 1: (d_c + d_h^R) elements a layer, here 512 + 64.
        ("deepseek-v3", 61 * 576 * 2),
        ("gemma-3-27b", 62 * 2 * 16 * 128 * 2),
    ],
)
def test_kv_bytes_of_a_position(name, kv_bytes):
    assert shape(name).kv_bytes_per_token == kv_bytes


def test_windows_are_found_in_their_layers():
    full = math.inf
    assert shape("llama-3.1-8b").layer_groups == ((32, full),)
    assert shape("qwen2.5-7b").layer_groups == ((28, full),)
    assert shape("mistral-7b").layer_groups == ((32, 4096),)
    assert shape("gemma-3-4b").layer_groups == ((5, full), (29, 1024))
    assert shape("gemma-3-27b").layer_groups == ((10, full), (52, 1024))
    assert shape("gpt-oss-20b").layer_groups == ((12, full), (12, 128))


def test_windows_without_a_list_of_layers():
    def groups(family, **more):
        return ModelShape.from_config(
            LLAMA | {"model_type": family, "num_hidden_layers": 5, **more}
        ).layer_groups

    assert groups("gpt_oss", sliding_window=8, num_hidden_layers=3) == ((1, math.inf), (2, 8))
    assert groups("qwen2", sliding_window=8, use_sliding_window=True, max_window_layers=3) == (
        (3, math.inf),
        (2, 8),
    )
    assert groups("mistral", sliding_window=None) == ((5, math.inf),)


def test_bytes_of_a_weight_follow_dtype_and_quantisation():
    assert ModelShape.from_config(LLAMA).weight_bytes == 2
    single = ModelShape.from_config(LLAMA | {"dtype": "float32"})
    assert (single.weight_bytes, single.kv_bytes) == (4, 4)
    assert ModelShape.from_config(LLAMA, weight_bytes=1, kv_bytes=1).kv_bytes_per_token == 2 * 2 * 2 * 16
    assert shape("deepseek-v3").weight_bytes == pytest.approx(1, rel=0.01)
    # gpt-oss model card, table 1: checkpoints of 12.8 and 60.8 GiB.
    for name, gibibytes in (("gpt-oss-20b", 12.8), ("gpt-oss-120b", 60.8)):
        found = shape(name)
        assert found.params * found.weight_bytes / 2**30 == pytest.approx(gibibytes, rel=0.01)
    small = ModelShape.from_config(LLAMA | {"quantization_config": {"quant_method": "awq", "bits": 4}})
    assert 0.53 < small.weight_bytes < 2


def test_a_mixture_by_hand():
    found = ModelShape.from_config(MIXTURE)
    attention, expert, router, embedding = 2 * 64 * 16 * (4 + 2), 3 * 64 * 16, 64 * 8, 100 * 64
    assert found.params == 2 * (attention + 8 * expert + router) + 2 * embedding
    assert found.active_params == 2 * (attention + 2 * expert + router) + embedding
    with_dense = ModelShape.from_config(MIXTURE | {"mlp_only_layers": [0]})
    assert with_dense.params == found.params - 8 * expert - router + 3 * 64 * 128
    shared = ModelShape.from_config(MIXTURE | {"shared_expert_intermediate_size": 16})
    assert shared.active_params == found.active_params + 2 * expert


def test_latent_attention_without_a_compressed_query():
    whole = config("deepseek-v3")
    plain = ModelShape.from_config({**whole, "q_lora_rank": None})
    assert plain.params - shape("deepseek-v3").params == 61 * (7168 * 128 * 192 - 1536 * (7168 + 128 * 192))
    assert plain.latent == LatentAttention(512, 64)


@pytest.mark.parametrize(
    "name", ["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size"]
)
@pytest.mark.parametrize("value", [None, 0, -1, 1.5, "64", True, math.nan, 10**30, [], {}])
def test_a_field_that_is_missing_or_no_count_is_named(name, value):
    with pytest.raises(ValueError, match=name):
        ModelShape.from_config(LLAMA | {name: value})


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        ([], "config.json must be an object"),
        ({}, "model_type None"),
        (LLAMA | {"model_type": "mamba"}, "model_type 'mamba' .*llama.*in numbers"),
        (LLAMA | {"model_type": ["llama"]}, "model_type"),
        ({"model_type": "gemma3", "text_config": 3}, "text_config"),
        (LLAMA | {"num_key_value_heads": 3}, "num_kv_heads"),
        (LLAMA | {"num_attention_heads": 6}, "head_dim"),
        (LLAMA | {"num_hidden_layers": 10_001}, "num_hidden_layers"),
        (LLAMA | {"tie_word_embeddings": "yes"}, "tie_word_embeddings"),
        (LLAMA | {"dtype": "complex64"}, "dtype.*weight_bytes"),
        (LLAMA | {"dtype": {}}, None),
        (LLAMA | {"quantization_config": {"quant_method": "magic"}}, "quantization_config.*weight_bytes"),
        (LLAMA | {"quantization_config": 3}, "quantization_config"),
        (LLAMA | {"sliding_window": 8, "layer_types": ["sliding_attention"] * 3}, "layer_types"),
        (LLAMA | {"sliding_window": -8}, "sliding_window"),
        (MIXTURE | {"num_experts_per_tok": 9}, "num_experts_per_tok"),
        ({**MIXTURE, "num_experts_per_tok": None}, "num_experts_per_tok"),
        (MIXTURE | {"mlp_only_layers": 7}, "mlp_only_layers"),
        (LLAMA | {"kv_lora_rank": 4}, "qk_rope_head_dim"),
    ],
)
def test_a_broken_file_is_refused_with_the_field_and_the_mend(broken, named):
    if named is None:
        ModelShape.from_config(broken)
        return
    with pytest.raises(ValueError, match=named):
        ModelShape.from_config(broken)


@settings(suppress_health_check=[HealthCheck.too_slow])  # a busy machine makes the first files slowly
@given(
    st.dictionaries(
        st.sampled_from([*config("deepseek-v3"), *MIXTURE]),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(),
            st.text(max_size=5),
            st.lists(st.integers(), max_size=3),
            st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
        ),
    ),
    st.sampled_from(["deepseek-v3", "gpt-oss-20b", "gemma-3-4b", "qwen3-8b"]),
)
def test_whatever_a_file_says_it_is_a_shape_or_a_value_error(changes, name):
    try:
        found = ModelShape.from_config(config(name) | changes)
    except ValueError:
        return
    assert 0 < found.active_params <= found.params < math.inf


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"params": 0}, "params"),
        ({"params": math.nan}, "params"),
        ({"active_params": 2e9}, "active_params"),
        ({"num_layers": 1.5}, "num_layers"),
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"num_kv_heads": 3}, "num_kv_heads"),
        ({"head_dim": -1}, "head_dim"),
        ({"weight_bytes": 0}, "weight_bytes"),
        ({"kv_bytes": math.inf}, "kv_bytes"),
        ({"head_params": 2e9}, "head_params"),
        ({"experts_per_token": 1}, "experts_per_token"),
        ({"sliding_layers": 1}, "sliding_window"),
        ({"sliding_layers": 9, "sliding_window": 4}, "sliding_layers"),
    ],
)
def test_numbers_that_are_no_shape_are_refused_by_name(change, named):
    numbers = {
        "params": 1e9,
        "active_params": 1e9,
        "num_layers": 8,
        "num_attention_heads": 8,
        "num_kv_heads": 4,
        "head_dim": 64,
    }
    with pytest.raises(ValueError, match=named):
        ModelShape(**(numbers | change))
