"""The log of a calibration: every problem's responses, on disk as soon as they are there.

A JSON object a line. The first holds the settings with which responses are drawn; each other one a problem with its
responses, in the form that recorded data has. Lines are only added. A last line that a crash tore is cut off.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

from service.calibration.data import DataError, Problem, Response, read_fields, read_problem

HEADER: Final = b'{"calibration":{'


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides how responses are drawn: where one of these differs, they cannot be taken together.

    But responses that a verifier scored serve one who asks for no verifier, too.
    """

    model: str
    samples: int
    verifier: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None


def default_path(data: Path, model: str, task: str) -> Path:
    """Beside the data, and another one for each model and task: the last dot of their names stands between them."""
    names = f"{quote(model, safe='')}.{quote(task, safe='').replace('.', '%2E')}"
    return data.with_name(f"{data.stem}.{names}.calibration.jsonl")


class LogError(ValueError):
    """A log that cannot be used: a sentence that says what to do."""


class Log:
    """A log, opened by one process at a time. `kept` has the responses that it held, by the problem's identity;
    where a verifier is asked for, those of which it scored some.

    Raises LogError where it is no log, another one's, or has other settings; OSError where it cannot be opened.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path
        self.kept: dict[str, tuple[Response, ...]] = {}
        self._settings = settings
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            self._lock()
            self._read()
        except BaseException:
            self.close()
            raise

    def append(self, problem: Problem, responses: Sequence[Response]) -> None:
        """Write a problem's responses; they are on disk when this returns. Raises OSError, and then none is kept."""
        self._write(
            {
                "messages": problem.messages,
                "reference": problem.reference,
                "responses": [response.text for response in responses],
                "tokens": [response.tokens for response in responses],
                "finished": [response.finished for response in responses],
                "scores": [response.score for response in responses],
            }
        )

    def close(self) -> None:
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise LogError(
                f"{self.path} is being written by another calibration. Wait for its end."
            ) from error

    def _read(self) -> None:
        lines = self.path.read_bytes().splitlines(keepends=True)
        if lines and not _torn_header(lines):
            self._check(lines[0])
        if lines and not lines[-1].endswith(b"\n"):
            os.ftruncate(self._file, sum(map(len, lines[:-1])))
            lines.pop()
        if not lines:
            self._write({"calibration": asdict(self._settings)})
        for number, line in enumerate(lines[1:], start=2):
            problem = self._problem(line, number)
            if self._settings.verifier is None or any(r.score is not None for r in problem.recorded):
                self.kept[problem.identity] = problem.recorded

    def _check(self, first: bytes) -> None:
        with suppress(DataError):
            kept = read_fields(first, str(self.path)).get("calibration")
            if isinstance(kept, dict):
                asked = asdict(self._settings)
                if asked["verifier"] is None:  # scores that nobody asks for do no harm
                    del asked["verifier"]
                differ = [name for name, value in asked.items() if kept.get(name) != value]
                if not differ:
                    return
                said = ", ".join(f"{name} {_said(kept.get(name))}" for name in differ)
                raise LogError(
                    f"{self.path} was made with {said}. Give the same again, or name another file with --log."
                )
        raise LogError(f"{self.path} is no log of a calibration. Name another file with --log.")

    def _problem(self, line: bytes, number: int) -> Problem:
        try:
            problem = read_problem(line, f"{self.path}, line {number}", number)
        except DataError as error:
            raise LogError(f"{error} Without this line its problem is asked again.") from error
        if not problem.recorded:
            raise LogError(f"{self.path}, line {number} has no responses. Take it out.")
        return problem

    def _write(self, value: Mapping[str, Any]) -> None:
        line = json.dumps(value, separators=(",", ":")).encode() + b"\n"
        begin, written = os.fstat(self._file).st_size, 0
        try:
            while written < len(line):
                written += os.write(self._file, line[written:])
            os.fsync(self._file)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, begin)
            raise


def _torn_header(lines: Sequence[bytes]) -> bool:
    """Whether there is nothing but the beginning of a first line that a crash tore."""
    first = lines[0]
    return not first.endswith(b"\n") and (first.startswith(HEADER) or HEADER.startswith(first))


def _said(value: Any) -> str:
    return "left out" if value is None else json.dumps(value)
