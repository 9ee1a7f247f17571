from hypothesis import given
from hypothesis import strategies as st

from engines.simulated.cache import BLOCK, PrefixCache

PROMPT = tuple(range(40))


def test_full_blocks_of_an_earlier_prompt_are_held():
    cache = PrefixCache()
    assert cache.read(PROMPT, 1)[0] == 0
    assert cache.read(PROMPT, 1)[0] == 2 * BLOCK
    assert cache.read((*PROMPT[:20], 99), 1)[0] == BLOCK
    assert cache.read((99, *PROMPT), 1)[0] == 0


def test_the_last_token_is_read_even_where_its_block_is_held():
    cache = PrefixCache()
    cache.read(PROMPT[:32], 1)
    assert cache.read(PROMPT[:32], 1)[0] == BLOCK


def test_what_was_generated_is_held_but_for_its_last_token():
    cache = PrefixCache()
    _, block = cache.read(PROMPT, 1)
    cache.write(PROMPT, block, tuple(range(40, 49)))
    assert cache.read(tuple(range(60)), 1)[0] == 3 * BLOCK
    _, block = cache.read(PROMPT, 1)
    cache.write(PROMPT, block, tuple(range(80, 88)))
    assert cache.read((*PROMPT, *range(80, 88), 1), 1)[0] == 2 * BLOCK


def test_samples_of_one_prompt_share_it_in_the_metrics():
    cache = PrefixCache()
    cache.read(tuple(range(104)), 16)
    assert (cache.queried, cache.hit) == (16 * 104, 15 * 96)


def test_memory_is_bounded_and_the_least_recently_used_go_first():
    cache = PrefixCache(blocks=4)
    one, two, three = (tuple(range(start, start + 2 * BLOCK + 1)) for start in (0, 1000, 2000))
    cache.read(one, 1)
    cache.read(two, 1)
    cache.read(one, 1)
    cache.read(three, 1)
    assert cache.read(one, 1)[0] == 2 * BLOCK
    assert cache.read(two, 1)[0] == 0


@given(st.lists(st.integers(0, 1), max_size=100), st.lists(st.integers(0, 1), max_size=100))
def test_never_more_than_the_shared_beginning_is_held(first, second):
    cache = PrefixCache()
    cache.read(tuple(first), 1)
    held = cache.read(tuple(second), 1)[0]
    shared = next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b),
        len(min(first, second, key=len)),
    )
    assert held == min(shared, max(0, len(second) - 1)) // BLOCK * BLOCK
