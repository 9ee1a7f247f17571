"""POST and GET /v1/profiles: what graded samples tell, kept and told."""

import asyncio
import random

import pytest

from budgets.profiles import Measurement, Profile
from engines.launch import free_port
from service.profile_replies import Profiles, ProfileSummary
from service.profile_schemas import profile_example
from service.settings import Settings, load_settings
from tests.service.live import live
from tests.stand_ins import MODEL


def graded(seed: int, verifier: bool = True, problems: int = 60, samples: int = 8) -> list:
    """Samples of problems whose difficulty varies; scores tell right from wrong somewhat."""
    rng = random.Random(seed)
    found = []
    for _ in range(problems):
        p = rng.betavariate(1.5, 1.5)
        drawn = [rng.random() < p for _ in range(samples)]
        found.append(
            [
                {
                    "right": right,
                    "tokens": round(rng.lognormvariate(5, 0.5)),
                    "finished": True,
                    "answer": "right" if right else str(rng.randrange(5)),
                    "score": min(1.0, max(0.0, rng.gauss(0.65 if right else 0.45, 0.15)))
                    if verifier
                    else None,
                }
                for right in drawn
            ]
        )
    return found


async def kept(served, **body):
    response = await served.client.post("/v1/profiles", json={"model": MODEL} | body)
    assert response.status_code == 200, response.text
    ProfileSummary.model_validate(response.json())
    return response.json()


async def listed(served):
    response = await served.client.get("/v1/profiles")
    assert response.status_code == 200
    Profiles.model_validate(response.json())
    return response.json()["data"]


async def test_the_summary_is_the_fits(served):
    problems = graded(1)
    told = await kept(served, task="sums", verifier="self_certainty", max_tokens=2048, problems=problems)
    measurements = [[Measurement(**sample) for sample in samples] for samples in problems]
    fit = Profile.measured(measurements, verifier="self_certainty", cap=2048)
    low, high = fit.difficulty.mean_interval
    assert told["accuracy"] == {"value": fit.difficulty.beta.mean, "low": low, "high": high}
    assert told["difficulty"] == {"a": fit.difficulty.beta.a, "b": fit.difficulty.beta.b}
    assert told["wrong_agreement"] == fit.wrong.wrong.agreement
    auc = fit.verifiers["self_certainty"]
    assert told["verifiers"] == {
        "self_certainty": {"auc": {"value": auc.auc, "low": auc.auc_interval[0], "high": auc.auc_interval[1]}}
    }
    assert fit.coverage
    assert told["coverage"] == {"a": fit.coverage.a, "b": fit.coverage.b, "error": fit.coverage.error}
    facts = ("model", "task", "source", "problems", "samples", "feedback", "max_tokens")
    assert [told[name] for name in facts] == [MODEL, "sums", "calibrated", 60, 480, 0, 2048]


async def test_half_of_the_responses_end_within_the_median_and_most_within_the_other(served):
    problems = graded(2, verifier=False, problems=300)
    lengths = sorted(sample["tokens"] for samples in problems for sample in samples)
    told = (await kept(served, problems=problems))["tokens"]
    assert told["median"] == pytest.approx(lengths[len(lengths) // 2], rel=0.05)
    assert told["p95"] == pytest.approx(lengths[len(lengths) * 95 // 100], rel=0.08)


async def test_profiles_are_listed_by_model_and_task(served):
    assert await listed(served) == []
    second = await kept(served, task="sums", problems=graded(3, verifier=False))
    first = await kept(served, problems=graded(4, verifier=False))
    assert first["task"] == "default"
    assert await listed(served) == [first, second]


async def test_a_verifier_measured_before_is_kept_beside_the_new_one(served):
    await kept(served, verifier="self_certainty", problems=graded(5))
    told = await kept(served, verifier="judge", problems=graded(6))
    assert list(told["verifiers"]) == ["judge", "self_certainty"]
    assert told["samples"] == 480


async def test_profiles_of_two_tasks_at_once_are_both_kept(served):
    await asyncio.gather(
        *(
            kept(served, task=f"t{n}", problems=graded(n, problems=20)[:20], verifier="self_certainty")
            for n in range(6)
        )
    )
    assert [one["task"] for one in await listed(served)] == [f"t{n}" for n in range(6)]


async def test_a_restarted_service_has_its_profiles(tmp_path):
    settings = Settings(data_dir=tmp_path / "data", log_folder=tmp_path)
    async with live(settings=settings) as served:
        before = await kept(served, **{k: v for k, v in profile_example(MODEL).items() if k != "model"})
    async with live(settings=settings) as served:
        assert await listed(served) == [before]


async def test_without_the_store_nothing_is_kept_and_the_503_says_when_to_come_again():
    async with live(settings=load_settings(redis_url=f"redis://127.0.0.1:{free_port()}")) as served:
        for asked in (
            served.client.get("/v1/profiles"),
            served.client.post("/v1/profiles", json=profile_example(MODEL)),
        ):
            response = await asked
            assert response.status_code == 503
            assert response.json()["error"]["code"] == "store_unavailable"
            assert response.headers["retry-after"] == "5"
