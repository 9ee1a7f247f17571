import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.voting import Ballot, beta_probability, beta_votes_needed, lead_votes_needed
from tests.reference import cases


@pytest.mark.parametrize(("inputs", "outputs"), cases("voting.json", "majority"))
def test_majority_and_beta_stopping_agree_with_the_reference(inputs, outputs):
    ballot = Ballot(answer for answer, count in inputs["votes"] for _ in range(count))
    first, second = ballot.top_two()
    assert ballot.winners() == outputs["winners"]
    assert ballot.ranked()[0] == outputs["winners"][0]
    assert (first, second) == (outputs["v1"], outputs["v2"])
    assert beta_probability(first, second) == pytest.approx(outputs["beta_probability"], rel=1e-12)
    stops = {t: beta_votes_needed(first, second, float(t)) == 0 for t in outputs["stop_at"]}
    assert stops == outputs["stop_at"]


@pytest.mark.parametrize(("inputs", "outputs"), cases("voting.json", "first_to_ahead"))
def test_first_to_lead_by_k_agrees_with_the_reference(inputs, outputs):
    for k, expected in outputs["by_k"].items():
        ballot, draws = Ballot(), 0
        while draws < len(inputs["answers"]) and lead_votes_needed(*ballot.top_two(), int(k)):
            ballot.add(inputs["answers"][draws])
            draws += 1
        decided = lead_votes_needed(*ballot.top_two(), int(k)) == 0
        assert (decided, draws) == (expected["decided"], expected["draws"])
        if decided:
            assert ballot.ranked()[0] == expected["winner"]
        else:
            assert ballot.winners() == expected["leaders"]


@given(st.integers(0, 40), st.integers(0, 40), st.floats(0.51, 0.999999))
def test_no_fewer_votes_than_needed_can_decide(first, second, confidence):
    first, second = max(first, second), min(first, second)
    needed = beta_votes_needed(first, second, confidence)
    assert beta_probability(first + needed, second) >= confidence
    assert needed == 0 or beta_probability(first + needed - 1, second) < confidence


def test_tool_calls_are_voted_on_by_name_before_arguments():
    votes = ["f 1", "f 2", "f 3", "g 1", "g 1"]
    assert Ballot(votes).ranked()[0] == "g 1"
    assert Ballot(votes, group=lambda call: call[0]).ranked() == ["f 1", "f 2", "f 3", "g 1"]
