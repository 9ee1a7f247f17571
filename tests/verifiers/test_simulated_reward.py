import pytest

from engines.base import Call, EngineRefused, Sample
from engines.simulated.engine import SimulatedEngine
from engines.simulated.words import encode, render
from engines.simulated.world import SimulatedWorld
from engines.transport import Transport
from tests.engines.simulated.serving import serving_world
from verifiers.base import Response, Step
from verifiers.embedding import Embedding
from verifiers.outcome_reward import OutcomeReward
from verifiers.process_reward import ProcessReward
from verifiers.simulated_reward import SimulatedEmbedder, SimulatedOutcomeReward, SimulatedProcessReward

WORLD = SimulatedWorld()
MESSAGES = ({"role": "user", "content": WORLD.question(3)},)


def in_steps(text: str) -> Response:
    """The response as a search has it, in steps."""
    pieces = text.split("\n\n")
    texts = [piece + "\n\n" for piece in pieces[:-1]] + pieces[-1:]
    steps = tuple(Step(piece, len(encode(piece))) for piece in texts if piece)
    return Response(Sample(text, encode(text), "stop"), text, None, steps)


def drawn_whole(text: str) -> Response:
    return Response(Sample(text, encode(text), "stop"), text, None)


@pytest.fixture
async def texts():
    engine = SimulatedEngine(WORLD)
    generation = await engine.sample(Call((render(MESSAGES),), 4, 1000, sampling={"seed": 1}))
    return [sample.text for sample in generation.samples[0]]


async def test_a_process_reward_scores_the_last_step_of_a_path_so_far(texts):
    verifier = SimulatedProcessReward(WORLD)
    expected = [WORLD.process_scores(WORLD.problem(3), text) for text in texts]
    verdict = await verifier.score(MESSAGES, list(map(in_steps, texts)))
    assert verdict.scores == tuple(scores[-1] for scores in expected)
    assert verdict.read == sum(len(encode(text)) for text in texts)
    assert (await verifier.score(MESSAGES, list(map(drawn_whole, texts)))).scores == verdict.scores
    begun = texts[0].partition("\n\n")[0] + "\n\n"
    assert (await verifier.score(MESSAGES, [in_steps(begun)])).scores == (expected[0][0],)
    assert (await verifier.score(MESSAGES, [])).scores == ()


async def test_an_outcome_reward_scores_the_whole_response_and_a_hackable_one_is_hacked(texts):
    problem = WORLD.problem(3)
    loved = f"So it is, the answer is {problem.answers[min(problem.loved) + 1]}."
    texts = [*texts, loved]
    plain = await SimulatedOutcomeReward(WORLD).score(MESSAGES, list(map(drawn_whole, texts)))
    assert plain.scores == tuple(WORLD.outcome_score(problem, text) for text in texts)
    hackable = SimulatedOutcomeReward(WORLD, hackable=True)
    hacked = await hackable.score(MESSAGES, list(map(drawn_whole, texts)))
    assert hacked.scores[-1] > plain.scores[-1] + 0.1
    assert hackable.name == "simulated-orm-hackable"


@pytest.fixture
async def http():
    async with serving_world(SimulatedEngine(WORLD)) as url:
        transport = Transport(url)
        yield transport
        await transport.close()


@pytest.mark.parametrize("separator", ["\n\n", None])
async def test_the_served_process_reward_scores_as_that_in_process(http, texts, separator):
    served = ProcessReward("prm", http, "simulated-prm", separator=separator)
    cut = texts[0][: len(texts[0]) // 2]
    responses = [*map(in_steps, texts), in_steps(cut)]
    verdict = await served.score(MESSAGES, responses, seconds=10)
    expected = await SimulatedProcessReward(WORLD).score(MESSAGES, responses)
    assert verdict.scores == pytest.approx(expected.scores)
    assert verdict.warnings == ()


@pytest.mark.parametrize("aggregate", ["min", "mean", "prod"])
async def test_the_served_process_reward_scores_every_step(http, texts, aggregate):
    served = ProcessReward("prm", http, "simulated-prm", separator="\n\n", aggregate=aggregate)
    verdict = await served.score(MESSAGES, list(map(in_steps, texts)), seconds=10)
    scores = WORLD.process_scores(WORLD.problem(3), texts[0])
    if aggregate == "min":
        assert verdict.scores[0] == pytest.approx(min(scores))
    assert None not in verdict.scores


@pytest.mark.parametrize("route", ["pooling", "classify"])
@pytest.mark.parametrize("hackable", [False, True])
async def test_the_served_outcome_reward_scores_as_that_in_process(http, texts, route, hackable):
    local = SimulatedOutcomeReward(WORLD, hackable)
    served = OutcomeReward("orm", http, local.name, route)
    responses = list(map(drawn_whole, texts))
    verdict = await served.score(MESSAGES, responses, seconds=10)
    assert verdict.scores == pytest.approx((await local.score(MESSAGES, responses)).scores)


async def test_a_model_that_is_not_served_is_refused(http, texts):
    with pytest.raises(EngineRefused, match="does not exist"):
        await OutcomeReward("orm", http, "rm").score(MESSAGES, [drawn_whole(texts[0])])


async def test_served_embeddings_are_those_in_process(http, texts):
    served = await Embedding("steps", http, "simulated-embedding").embed(texts)
    local = await SimulatedEmbedder(WORLD).embed(texts)
    assert served.vectors == local.vectors
    assert served.read == sum(len(encode(text)) for text in texts)
