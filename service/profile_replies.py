"""What clients get from the routes on profiles, for the API's description; built in `service.summaries`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


class Estimate(BaseModel):
    """A number with its 90 % interval."""

    value: float
    low: float
    high: float


class ProfileDifficulty(BaseModel):
    """A sample's accuracy is distributed over problems as Beta(a, b)."""

    a: float
    b: float


class ProfileTokens(BaseModel):
    """Lengths of responses: half end within `median`, 95 % within `p95`."""

    median: float
    p95: float


class ProfileVerifier(BaseModel):
    """How often a verifier scores a right response above a wrong one of the same problem."""

    auc: Estimate


class ProfileCoverage(BaseModel):
    """The share of problems that k samples solve is exp(a·k^b), with this root mean square error."""

    a: float
    b: float
    error: float


class ProfileSummary(BaseModel):
    """What is known of a model on a task; `accuracy` of one sample. Of a `prior` nothing has been measured."""

    model: str
    task: str
    source: Literal["prior", "calibrated"]
    problems: int
    samples: int
    feedback: int
    max_tokens: int | None
    accuracy: Estimate
    difficulty: ProfileDifficulty
    wrong_agreement: float
    tokens: ProfileTokens
    verifiers: dict[str, ProfileVerifier]
    coverage: ProfileCoverage | None


class Profiles(BaseModel):
    object: Literal["list"]
    data: list[ProfileSummary]


class Feedback(BaseModel):
    """What came of a verdict; `counted` is false where the same was told before."""

    id: str
    model: str
    task: str
    counted: bool
    profile: ProfileSummary
    warnings: list[str]
