"""Events that wait for a slow client: bounded, and no text is lost."""

from hypothesis import given
from hypothesis import strategies as st

from service import backlog as keeping
from service.backlog import Backlog


def taken(backlog: Backlog) -> list:
    events = []
    while backlog:
        events.append(backlog.take())
    return events


def delta(text: str, choice: int = 0) -> dict:
    return {"event": "delta", "choice": choice, "text": text}


async def test_text_is_joined_and_other_events_stay_between():
    backlog = Backlog()
    for event in (delta("a"), delta("b"), {"event": "sample"}, delta("c"), delta("d", 1), delta("e", 1)):
        backlog.add(event)
    assert backlog.some.is_set()
    assert taken(backlog) == [delta("ab"), {"event": "sample"}, delta("c"), delta("de", 1)]
    assert not backlog.some.is_set()
    assert backlog.take() is None


async def test_more_events_than_may_wait_are_dropped_and_counted(monkeypatch):
    monkeypatch.setattr(keeping, "MOST_EVENTS", 2)
    backlog = Backlog()
    for number in range(5):
        backlog.add({"event": "sample", "number": number})
    backlog.add(delta("kept"))
    first, second, text, dropped = taken(backlog)
    assert (first["number"], second["number"], text) == (0, 1, delta("kept"))
    assert dropped == {"event": "dropped", "events": 3}
    backlog.add({"event": "sample", "number": 5})
    assert taken(backlog) == [{"event": "sample", "number": 5}]


@given(st.lists(st.sampled_from("abc") | st.none(), max_size=2000), st.integers(1, 5))
def test_no_text_is_lost_and_what_waits_is_bounded(said, most):
    before, keeping.MOST_EVENTS = keeping.MOST_EVENTS, most
    try:
        backlog = Backlog()
        for text in said:
            backlog.add({"event": "sample"} if text is None else delta(text))
        events = taken(backlog)
    finally:
        keeping.MOST_EVENTS = before
    assert "".join(e["text"] for e in events if e["event"] == "delta") == "".join(filter(None, said))
    assert len(events) <= 2 * most + 2
    told = sum(e["event"] == "sample" for e in events)
    assert told + sum(e.get("events", 0) for e in events) == said.count(None)
