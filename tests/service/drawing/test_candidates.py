from service.drawing.candidates import MOST_ANSWERS, MOST_MARKS
from tests.service.drawing.traces import candidate, having, outcome, picture, tooltips, words


def test_responses_are_grouped_by_answer_with_votes_and_scores():
    responses = [
        candidate("42", 0.9, votes=2),
        candidate("41", 0.8),
        candidate("42", 0.3, votes=2),
        candidate(None),
    ]
    drawn = picture(outcome(*responses, strategy="best_of_majority"))
    told = words(drawn)
    rows = told[told.index("its responses") + 1 :]
    assert rows == ["42", "2", "0.9", "41", "1", "0.8", "no answer", "0.5"]
    assert len(having(drawn, "node")) == 4
    assert len(having(drawn, "node", "ring")) == 1
    assert [t for t in tooltips(drawn) if "the answer" in t] == ["score 0.9, 7 tokens; the answer\nIt is 42."]


def test_without_scores_marks_are_plain():
    drawn = picture(outcome(candidate(score=None), candidate("7", None)))
    assert "best score" not in words(drawn)
    assert having(drawn, "none") == []


def test_many_responses_and_answers_are_counted_instead_of_drawn():
    crowd = [candidate("1", votes=5000)] * 5000 + [candidate(str(i)) for i in range(2, 100)]
    drawn = picture(outcome(*crowd))
    assert f"+{5000 - MOST_MARKS:,}" in words(drawn)
    assert f"{99 - MOST_ANSWERS} more answers are left out." in words(drawn)
    assert len(having(drawn, "node")) == MOST_MARKS + MOST_ANSWERS - 1
