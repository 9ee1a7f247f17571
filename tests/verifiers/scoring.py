"""Responses to score: what the tests of scorers share."""

from engines.base import Sample
from verifiers.base import Response

MESSAGES = ({"role": "user", "content": "What is 7 + 8?"},)


def response(text: str, answer: str | None = None, logprob: float | None = None) -> Response:
    return Response(Sample(text, tuple(map(ord, text)), "stop", logprob), text, answer)
