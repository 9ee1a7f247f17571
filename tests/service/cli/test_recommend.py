import json
from xml.etree import ElementTree

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from service.cli.recommend import _drawn
from tests.service.cli.simulated import simulated
from tests.service.cli.terminal import WIDTH, aliquot
from tests.stand_ins import serving

SVG = "{http://www.w3.org/2000/svg}"


def triple(value: float) -> dict:
    return {"value": value, "low": 0.8 * value, "high": 1.2 * value}


def point(samples: int, accuracy: float, *, usd: float | None = None, **more) -> dict:
    plan = {"model": "m", "strategy": "best_of_n", "params": {"select": "argmax", "temperature": 1.0}}
    plan |= {"samples": samples, "max_tokens": 512, "verifier": "orm"} | more
    cost = {"eflops": triple(1e12 * samples), "usd": None if usd is None else triple(usd), "seconds": None}
    return {"plan": plan, "accuracy": triple(accuracy), "cost": cost | {"tokens": triple(300 * samples)}}


def reply(chosen: int, *points: dict, axis: str = "usd") -> dict:
    predicted = {part: points[chosen][part] for part in ("accuracy", "cost")}
    told = {"reasons": ["[/b] 8 samples pay."], "warnings": ["Nothing was measured.\x1b[31m"]}
    return {
        "plan": points[chosen]["plan"],
        "predicted": predicted,
        "frontier": [*points],
        "axis": axis,
        **told,
    }


CANNED = reply(1, point(1, 0.4, usd=0.001), point(8, 0.6, usd=0.01), point(64, 0.7, usd=0.09))


class Canned:
    """A service that recommends the same to everyone, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answer: object = CANNED
        self.asked: list[dict] = []

    async def recommend(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        return web.json_response(self.answer)


@pytest.fixture
async def canned():
    service, app = Canned(), web.Application()
    app.router.add_post("/v1/budget/recommend", service.recommend)
    async with serving(app) as url:
        service.url = url
        yield service


def tooltips(picture: str) -> list[str]:
    root = ElementTree.fromstring(picture)
    return [title.text for circle in root.iter(f"{SVG}circle") for title in circle.iter(f"{SVG}title")]


async def test_the_plan_its_predictions_the_frontier_and_the_reasons_are_shown(canned):
    result = await aliquot("recommend", "7 + 8?", "--usd", "0.01", url=canned.url)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == (
        "best_of_n (select=argmax, temperature=1.0): 8 samples of m, at most 512 tokens each, judged by orm"
    )
    rows = [line.split() for line in lines]
    assert ["accuracy", "60.0", "%", "48.0", "%", "to", "72.0", "%"] in rows
    assert ["tokens", "2,400", "1,920", "to", "2,880"] in rows
    assert ["best_of_n", "×64", "70.0", "%", "0.09", "6.4e+13", "19,200"] in rows
    assert "[/b] 8 samples pay." in lines
    assert "Nothing was measured.[31m" in lines


async def test_what_is_asked_reaches_the_service(canned):
    caps = ("--samples", "8", "--tokens", "1e6", "--seconds", "2.5", "--eflops", "1e15", "--usd", "0.01")
    more = ("--target-accuracy", "0.9", "-k", "2", "--wrong-answer-cost", "3", "--difficulty", "0.5")
    given = ("--task", "t", "--model", "a", "--model", "b", "--verifier", "orm", "--concurrency", "4")
    await aliquot("recommend", "--prompt-tokens", "99", *caps, *more, *given, url=canned.url)
    await aliquot("recommend", "7 + 8?", "--tokens", "9", "--no-verifiers", url=canned.url)
    asked, short = canned.asked
    assert asked == {
        "prompt_tokens": 99,
        "budget": {"samples": 8, "tokens": 1_000_000, "seconds": 2.5, "eflops": 10**15, "usd": 0.01},
        "target_accuracy": 0.9,
        "k": 2,
        "wrong_answer_cost": 3,
        "difficulty": 0.5,
        "task": "t",
        "models": ["a", "b"],
        "verifiers": ["orm"],
        "concurrency": 4,
    }
    message = {"role": "user", "content": "7 + 8?"}
    assert short == {"messages": [message], "budget": {"tokens": 9}, "verifiers": []}


async def test_json_is_the_reply_itself(canned):
    result = await aliquot("recommend", "7 + 8?", "--usd", "0.01", "--json", url=canned.url)
    assert json.loads(result.stdout) == CANNED


@pytest.mark.parametrize(
    ("axis", "costs"),
    [
        ("usd", ["0.001 USD", "0.01 USD", "0.09 USD"]),
        ("tokens", ["300 tokens", "2400 tokens", "1.92e+04 tokens"]),
        ("eflops", ["1e+12 FLOP", "8e+12 FLOP", "6.4e+13 FLOP"]),
    ],
)
async def test_the_plot_takes_the_unit_that_the_plans_were_compared_in(canned, tmp_path, axis, costs):
    canned.answer = CANNED | {"axis": axis}
    words = ("--target-accuracy", "0.5", "--plot", str(tmp_path / "x.svg"))
    result = await aliquot("recommend", "7 + 8?", *words, url=canned.url)
    assert result.exit_code == 0, result.output
    told = [tip.splitlines() for tip in tooltips((tmp_path / "x.svg").read_text())]
    assert [lines[2] for lines in told] == costs
    assert [lines[0] for lines in told if "recommended" in lines] == ["best_of_n ×8"]
    assert "with orm · m · up to 512 tokens" in (tmp_path / "x.svg").read_text()


def test_names_tell_models_lengths_and_selections_where_these_differ():
    points = [
        point(4, 0.5, model="small", params={"select": "weighted"}),
        point(8, 0.6, max_tokens=1024),
        point(1, 0.2, strategy="majority", verifier=None, params={"stop": "never"}),
    ]
    names = {tip.splitlines()[0] for tip in tooltips(_drawn(reply(0, *points, axis="tokens"), None))}
    assert names == {
        "best_of_n weighted ×4, with orm, small, up to 512 tokens",
        "best_of_n ×8, with orm, m, up to 1,024 tokens",
        "majority ×1, m, up to 512 tokens",
    }


def test_a_plan_that_is_not_on_the_frontier_is_drawn_too():
    given = reply(1, point(1, 0.4), point(8, 0.6), axis="tokens") | {"frontier": [point(1, 0.4)]}
    assert sum("recommended" in tip for tip in tooltips(_drawn(given, "t"))) == 1


share = st.floats(0, 1)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 10_000), share, st.floats(0, 1e9)), min_size=1, max_size=8), st.data()
)
def test_any_frontier_is_drawn(points, data):
    some = [point(n, accuracy, usd=usd) for n, accuracy, usd in points]
    chosen = data.draw(st.integers(0, len(some) - 1))
    assert len(tooltips(_drawn(reply(chosen, *some), None))) == len(some)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "Give the question or --prompt-tokens"),
        (("x", "--prompt-tokens", "3"), "Give the question or --prompt-tokens"),
        (("x", "--no-verifiers", "--verifier", "orm"), "contradict each other"),
        (("x", "--plot", "/nowhere/at/all.svg"), "cannot be written: No such file"),
        (("x", "--url", "http://127.0.0.1:9"), "Start one with `make serve`"),
    ],
)
async def test_what_cannot_be_asked_is_a_sentence(canned, words, says):
    result = await aliquot("recommend", *words, url=canned.url)
    assert result.exit_code == 1
    assert says in result.stderr
    assert canned.asked == []


@pytest.mark.parametrize("answer", [[], {"plan": {}}, "no"])
async def test_another_service_is_told_so(canned, answer):
    canned.answer = answer
    result = await aliquot("recommend", "x", url=canned.url)
    assert (result.exit_code, "did not answer a plan; is it an Aliquot?" in result.stderr) == (1, True)


async def test_a_real_service_recommends_and_its_errors_are_told(tmp_path):
    picture = tmp_path / "x.svg"
    async with simulated() as world:
        words = ("--samples", "8", "--task", "t", "--plot", str(picture))
        result = await aliquot("recommend", "Problem 7?", *words, url=world.url)
        assert result.exit_code == 0, result.output
        assert "of simulated, at most" in result.stdout.splitlines()[0]
        assert sum("recommended" in tip for tip in tooltips(picture.read_text())) == 1
        assert "no task named" not in picture.read_text()
        before = picture.read_text()
        for refused, says in (
            (("--samples", "8", "--verifier", "luck"), "There is no verifier 'luck'"),
            (("--usd", "nan"), "budget.usd"),
            (("--samples", "2.5"), "budget.samples"),
            ((), "budget and target_accuracy are both missing"),
            (("--target-accuracy", "2"), "target_accuracy"),
        ):
            result = await aliquot("recommend", "x", *refused, "--plot", str(picture), url=world.url)
            assert (result.exit_code, result.stdout) == (1, "")
            assert says in result.stderr
        assert picture.read_text() == before


async def test_help_fits_and_shows_examples():
    result = await aliquot("recommend", "--help")
    assert "aliquot recommend" in result.stdout.partition("Examples")[2]
    assert all(len(line) <= WIDTH for line in result.stdout.splitlines())
