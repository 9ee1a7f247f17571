"""What vLLM's pooling server answers."""

from __future__ import annotations

import msgspec

from engines.base import EngineGarbage
from engines.transport import decode
from verifiers.base import Score

Row = list[Score]
"""The numbers of one position or one text, one a class; None where the server has no number."""


class Usage(msgspec.Struct):
    prompt_tokens: int = 0


class Pooled(msgspec.Struct):
    """What /pooling answers for one input: left as it came, since long texts have many rows and few are read."""

    data: msgspec.Raw

    def rows(self) -> list[Row]:
        """A row for each position, or one for the whole input, whichever the server gives. Raises EngineGarbage."""
        numbers = decode(bytes(self.data), list[Score | Row])
        flat = [number for number in numbers if not isinstance(number, list)]
        if not flat:
            return [row for row in numbers if isinstance(row, list)]
        if len(flat) < len(numbers):
            raise EngineGarbage(
                "The engine's answer does not follow its protocol: rows and numbers are mixed."
            )
        return [flat]


class Pooling(msgspec.Struct):
    data: list[Pooled]
    usage: Usage = msgspec.field(default_factory=Usage)
