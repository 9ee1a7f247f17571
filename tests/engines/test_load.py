"""What a vLLM's /metrics say of its load."""

import pytest

from engines.load import Load, read_load, together

PAGE = b"""# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="Qwen/Qwen3-8B"} 12.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="Qwen/Qwen3-8B"} 3.0
# TYPE vllm:num_requests_waiting_by_reason gauge
vllm:num_requests_waiting_by_reason{engine="0",model_name="Qwen/Qwen3-8B",reason="capacity"} 3.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="Qwen/Qwen3-8B",reason="deferred"} 0.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="Qwen/Qwen3-8B"} 0.25
vllm:prefix_cache_hits_total{engine="0",model_name="Qwen/Qwen3-8B"} 99.0
"""


def test_waiting_and_running_sequences_and_the_use_of_the_kv_cache_are_read():
    assert read_load(PAGE) == Load(12, 3, 0.25)


def test_data_parallel_engines_count_together():
    second = PAGE.replace(b'engine="0"', b'engine="1"').replace(b"} 0.25", b"} 0.75")
    assert read_load(PAGE + second) == Load(24, 6, 0.5)


def test_a_models_name_may_hold_braces_and_the_kv_cache_its_older_name():
    page = PAGE.replace(b"Qwen/Qwen3-8B", b"a} b").replace(b":kv_cache", b":gpu_cache")
    assert read_load(page) == Load(12, 3, 0.25)


@pytest.mark.parametrize("value", [b"NaN", b"-1.0", b"1.5", b"full", b"+Inf"])
def test_a_value_that_cannot_be_is_no_load(value):
    assert read_load(PAGE.replace(b"} 0.25", b"} " + value)) is None


@pytest.mark.parametrize("page", [b"", b"<html>", PAGE.replace(b"kv_cache", b"cache"), b"vllm:\n" * 1000])
def test_a_page_without_the_gauges_is_no_load(page):
    assert read_load(page) is None


def test_of_several_servers_the_mean_counts_and_of_none_nothing_is_known():
    assert together([Load(2, 4, 0.5), Load(4, 0, 1.0)]) == Load(3, 2, 0.75)
    assert together([]) is None
