from collections import Counter

import pytest

from budgets.budget import Budget
from strategies.registry import build
from tests.strategies.bench import TableVerifier, run
from tests.strategies.worlds import branching, events


def two_steps(path: str) -> list[str]:
    return ["g\n\n", "b\n\n"] if not path else [path[0] + "1", path[0] + "2"]


def scores(good: float, bad: float) -> TableVerifier:
    return TableVerifier(lambda text: good if text[0] == "g" else bad)


def survivors(ran, depth: int) -> Counter:
    """Particles after the resampling at `depth`, by their first letter."""
    event = events(ran, "select")[depth - 1]
    texts = {node["node"]: node["text"] for step in events(ran, "steps") for node in step["nodes"]}
    counts = Counter()
    for node, count in event["kept"]:
        counts[texts[node][0]] += count
    return counts


@pytest.mark.parametrize("method", ["multinomial", "systematic", "stratified", "residual"])
async def test_survivors_are_in_proportion_to_the_odds_of_their_scores(method):
    strategy = build("particle_filtering", {"resample": method})
    ran = await run(strategy, branching(two_steps), Budget(1000), verifier=scores(2 / 3, 1 / 3), seed=5)
    # Odds of 2 and 1/2: four fifths of the weight. Four standard deviations of 1000 multinomial draws are 50.
    assert abs(survivors(ran, 1)["g"] - 800) < 50


async def test_a_higher_temperature_flattens_the_weights():
    strategy = build("particle_filtering", {"temperature": 2.0, "resample": "systematic"})
    ran = await run(strategy, branching(two_steps), Budget(300), verifier=scores(2 / 3, 1 / 3), seed=5)
    # Odds of √2 to 1/√2; four standard deviations of 300 multinomial draws are 33.
    assert abs(survivors(ran, 1)["g"] - 200) < 33


async def test_scores_of_exactly_0_and_1_leave_one_side_alone_and_break_nothing():
    ran = await run(
        build("particle_filtering", {}), branching(two_steps), Budget(8), verifier=scores(1.0, 0.0), seed=5
    )
    assert survivors(ran, 1) == {"g": 8}
    assert ran.texts[0].startswith("g")


async def test_a_population_whose_scores_are_all_0_lives_on():
    ran = await run(
        build("particle_filtering", {}), branching(two_steps), Budget(8), verifier=scores(0.0, 0.0), seed=5
    )
    assert sum(survivors(ran, 1).values()) == 8
    assert len(ran.texts) >= 1


async def test_resampling_is_left_out_while_the_effective_sample_size_is_above_the_threshold():
    strategy = build("particle_filtering", {"ess_threshold": 0.5})
    ran = await run(strategy, branching(two_steps), Budget(8), verifier=scores(0.6, 0.5), seed=5)
    assert survivors(ran, 1) == {"g": 4, "b": 4}
    assert all(count == 1 for _, count in events(ran, "select")[0]["kept"])


async def test_finished_particles_stay_in_the_population_and_can_be_resampled():
    def follow(path: str) -> list[str]:
        return ["end", "on\n\n"] if not path else ["late"]

    verifier = TableVerifier(lambda text: 0.95 if text == "end" else 0.5)
    strategy = build("particle_filtering", {"resample": "systematic"})
    ran = await run(strategy, branching(follow), Budget(8), verifier=verifier, seed=5)
    select = events(ran, "select")[0]
    finished = {n["node"] for n in events(ran, "steps")[0]["nodes"] if n["finished"]}
    # Four finished with odds of 19 and four went on with odds of 1: 7.6 of the 8 survivors have finished.
    assert sum(count for node, count in select["kept"] if node in finished) in (7, 8)


async def test_a_response_that_finished_and_died_still_comes_back_after_the_survivors():
    def follow(path: str) -> list[str]:
        return ["early", "on\n\n"] if not path else ["late"]

    verifier = TableVerifier(lambda text: 0.0 if text == "early" else 1.0)
    ran = await run(build("particle_filtering", {}), branching(follow), Budget(4), verifier=verifier, seed=5)
    assert ran.texts[0].endswith("late")
    assert ran.texts[-1] == "early"


async def test_particle_gibbs_carries_a_particle_of_each_filter_into_the_next():
    strategy = build("particle_filtering", {"iterations": 3, "resample": "multinomial"})
    ran = await run(strategy, branching(two_steps), Budget(12), verifier=scores(0.7, 0.4), seed=5)
    assert [call.n * len(call.prompts) for call in ran.engine.calls][::2] == [4, 4, 4]
    assert ran.ledger.spent.samples == 12
    first, second, third = ([e for e in events(ran, "select") if e["iteration"] == i] for i in (1, 2, 3))
    nodes = {n["node"]: e["iteration"] for e in events(ran, "steps") for n in e["nodes"]}
    assert sum(count for _, count in first[0]["kept"]) == 4
    for selected, iteration in ((second, 2), (third, 3)):
        assert sum(count for _, count in selected[0]["kept"]) == 5
        assert any(nodes[node] < iteration for node, _ in selected[0]["kept"])


async def test_samples_are_shared_among_the_filters_and_none_is_left_over():
    strategy = build("particle_filtering", {"iterations": 3})
    ran = await run(strategy, branching(two_steps), Budget(8), verifier=scores(0.7, 0.4), seed=5)
    assert ran.ledger.spent.samples == 8
    strategy = build("particle_filtering", {"iterations": 10})
    ran = await run(strategy, branching(two_steps), Budget(2), verifier=scores(0.7, 0.4), seed=5)
    assert ran.ledger.spent.samples == 2


async def test_entropic_annealing_flattens_concentrated_weights_early_and_never_below_the_temperature():
    params = {"anneal": "entropic", "horizon": 2, "resample": "systematic"}

    def three(path: str) -> list[str]:
        return ["g\n\n", "b\n\n"] if path.count("\n\n") < 3 else ["end"]

    ran = await run(
        build("particle_filtering", params), branching(three), Budget(100), verifier=scores(0.9, 0.1), seed=5
    )
    first, second, third = events(ran, "select")
    # Odds of 81 to 1 on half of the population each: ESS = 1/(50·(w²+v²)); half of the horizon is left.
    weight = 81 / 82 / 50
    ess = 1 / (50 * weight**2 + 50 * (weight / 81) ** 2)
    assert first["ess"] == pytest.approx(ess, abs=1e-3)
    assert first["temperature"] == pytest.approx(max(1.0, 100 / ess * 0.5), abs=1e-3)
    assert second["temperature"] == third["temperature"] == 1.0


async def test_annealing_lets_more_of_the_unlikely_live():
    lively = {}
    for anneal in ("none", "entropic"):
        strategy = build("particle_filtering", {"anneal": anneal, "horizon": 100, "resample": "systematic"})
        # One good particle of eight holds nearly all the weight.
        script = branching(lambda path: ["g\n\n", *["b\n\n"] * 7] if not path else ["end"])
        ran = await run(strategy, script, Budget(8), verifier=scores(0.99, 0.3), seed=5)
        lively[anneal] = survivors(ran, 1)["b"]
    assert lively["none"] < lively["entropic"]


async def test_weighted_adds_up_the_weights_of_equal_answers():
    def ends(path: str) -> list[str]:
        return ["x", "y", "y"]

    verifier = TableVerifier({"x": 0.6, "y": 0.55})
    best = {}
    for select in ("argmax", "weighted"):
        strategy = build("particle_filtering", {"select": select})
        best[select] = (await run(strategy, branching(ends), Budget(3), verifier=verifier, seed=5)).best
    assert best == {"argmax": "x", "weighted": "y"}


async def test_sample_draws_the_answer_by_weight():
    drawn = Counter()
    for seed in range(400):
        strategy = build("particle_filtering", {"select": "sample"})
        verifier = TableVerifier({"x": 0.5, "y": 0.75})
        drawn[
            (
                await run(strategy, branching(lambda _: ["x", "y"]), Budget(2), verifier=verifier, seed=seed)
            ).best
        ] += 1
    assert abs(drawn["y"] - 300) < 40  # odds of 1 and 3; four standard deviations are 35


async def test_the_particle_that_gibbs_keeps_goes_its_known_way_to_its_end():
    def follow(path: str) -> list[str]:
        return ["long\n\n"] if not path or path.count("\n\n") % 4 else ["end"]

    def mixed(path: str) -> list[str]:
        return follow(path) if path else ["long\n\n", "now"]

    strategy = build("particle_filtering", {"iterations": 3, "ess_threshold": 0.0})
    verifier = TableVerifier(lambda text: 0.9 if text.startswith("long") else 0.1)
    ran = await run(strategy, branching(mixed), Budget(6), verifier=verifier, seed=5)
    assert all(c.response.sample.finish_reason == "stop" for c in ran.outcome.candidates)
