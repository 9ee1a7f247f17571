"""Settings: ALIQUOT_* for the process, one YAML file for the world. Both are checked once, at the start."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.exposure import AdminKey, loopback
from service.store.address import RedisUrl
from service.tracing.collector import CollectorUrl
from service.webhook_settings import WebhooksConfig

BUNDLED_NAME = "smollm2-135m"
BUNDLED_PATH = Path("models") / BUNDLED_NAME

DRAIN_SECONDS = 5.0
"""As long as the service keeps an idle connection, and longer than deploy/nginx.conf does."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$")]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")]
HeaderValue = Annotated[str, Field(pattern=r"^[\x20-\x7e]{0,8000}$")]


class SettingsError(ValueError):
    """The environment or the configuration file cannot be used; the message says where and the mend."""


class Settings(BaseSettings):
    """The process: from the environment, as ALIQUOT_HOST and so on."""

    model_config = SettingsConfigDict(env_prefix="ALIQUOT_", extra="ignore")

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    config: Path | None = None
    engine_python: Path = Path(".venv-engine/bin/python")
    log_folder: Path = Path(".logs")
    redis_url: RedisUrl | None = None
    redis_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._{}-]{1,64}$")] = "aliquot"
    data_dir: Path = Path(".data")
    otlp_endpoint: CollectorUrl | None = None
    drain_seconds: Annotated[float, Field(ge=0, le=3_600)] | None = None
    grace_seconds: Annotated[float, Field(ge=0, le=86_400)] = 10.0
    auth: Literal["auto", "required", "off"] = "auto"
    admin_key: AdminKey | None = None

    @property
    def serves_on(self) -> float:
        """Seconds for which new requests are served once the service is told to end: `drain_seconds`."""
        if self.drain_seconds is None:
            return 0.0 if loopback(self.host) else DRAIN_SECONDS
        return self.drain_seconds

    @property
    def keys_required(self) -> bool:
        """Whether requests need a key: where others than this machine can reach it, unless `auth` says otherwise."""
        return self.auth == "required" or (self.auth == "auto" and not loopback(self.host))


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CostedConfig(_Part):
    """What a model costs to run: `path` holds its config.json, `hardware` is what it runs on, so many `accelerators`.

    `weight_bytes` and `kv_bytes` of an element, where the engine uses others than config.json says. `usd_per_hour` of
    one accelerator. `concurrency`: requests that usually run at once, and share the price of a decode step.
    """

    name: Name
    path: str | None = None
    hardware: str | None = None
    accelerators: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    usd_per_hour: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] | None = None
    weight_bytes: Annotated[float, Field(gt=0, le=16, allow_inf_nan=False)] | None = None
    kv_bytes: Annotated[float, Field(gt=0, le=16, allow_inf_nan=False)] | None = None
    concurrency: Annotated[int, Field(ge=1, le=1_000_000)] = 1


class ModelConfig(CostedConfig):
    """A model that can be asked for. Without `urls` Aliquot starts a vLLM of its own for it, from `path`.

    `separate_calls` asks for samples one by one, for servers that do not take `n`.
    """

    urls: list[HttpUrl] = []
    served_name: str | None = None
    api_key: str | None = None
    max_model_len: Annotated[int, Field(ge=64)] | None = None
    separate_calls: bool = False

    @model_validator(mode="after")
    def _reachable(self) -> ModelConfig:
        if not self.urls and not self.path:
            raise ValueError("give `urls` of vLLM servers, or a `path` from which Aliquot can start one")
        return self


class OutcomeRewardConfig(CostedConfig):
    kind: Literal["outcome_reward"]
    url: HttpUrl
    model: str
    route: Literal["pooling", "classify"] = "pooling"
    positive_label: Annotated[int, Field(ge=0)] = 0
    api_key: str | None = None


class JudgeConfig(_Part):
    """A judge other than the generator; `model` is one of `models`."""

    name: Name
    kind: Literal["judge"]
    model: str


class ProcessRewardConfig(CostedConfig):
    """A step's score stands at `step_token`, or before each `separator`, or with neither at the end of the path so far.

    `positive_label` is by default 1 where the model has two classes and 0 where it has one.
    """

    kind: Literal["process_reward"]
    url: HttpUrl
    model: str
    positive_label: Annotated[int, Field(ge=0)] | None = None
    aggregate: Literal["last", "min", "mean", "prod"] = "last"
    step_token: Annotated[str, Field(pattern=r"^\S{1,100}$")] | None = None
    separator: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    api_key: str | None = None


class EmbeddingConfig(CostedConfig):
    """Tells steps that say the same from steps that do not; it scores nothing."""

    kind: Literal["embedding"]
    url: HttpUrl
    model: str
    api_key: str | None = None


class HttpConfig(_Part):
    """A service of the operator's own that scores responses. `timeout` is in seconds."""

    name: Name
    kind: Literal["http"]
    url: HttpUrl
    timeout: Annotated[float, Field(gt=0, le=600)] = 10.0
    headers: dict[HeaderName, HeaderValue] = {}
    api_key: str | None = None


VerifierConfig = Annotated[
    OutcomeRewardConfig | ProcessRewardConfig | JudgeConfig | HttpConfig | EmbeddingConfig,
    Field(discriminator="kind"),
]


class BudgetConfig(_Part):
    samples: Annotated[int, Field(ge=1)]
    tokens: Annotated[int, Field(ge=1)] | None = None
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    eflops: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    usd: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class Defaults(_Part):
    """What applies where a request says nothing."""

    strategy: str = "majority"
    verifier: str | None = None
    budget: BudgetConfig = BudgetConfig(samples=8, tokens=4096, seconds=60)
    effort: dict[str, BudgetConfig] = {
        "low": BudgetConfig(samples=2),
        "medium": BudgetConfig(samples=8),
        "high": BudgetConfig(samples=32),
    }


class Limits(_Part):
    """The most that any request may ask for."""

    samples: Annotated[int, Field(ge=1, le=10_000)] = 256
    tokens: Annotated[int, Field(ge=1)] = 1_000_000
    seconds: Annotated[float, Field(gt=0)] = 600
    messages: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    body_bytes: Annotated[int, Field(ge=1_000)] = 4_000_000
    body_seconds: Annotated[float, Field(gt=0)] = 30
    send_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 30
    requests_at_once: Annotated[int, Field(ge=1, le=100_000)] = 128
    engine_waiting: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.25
    kv_usage: Annotated[float, Field(gt=0, le=1)] = 0.95
    profiles: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000
    response_seconds: Annotated[int, Field(ge=1, le=10 * 366 * 86_400)] = 7 * 86_400
    jobs_at_once: Annotated[int, Field(ge=0, le=1_000)] = 8
    jobs_waiting: Annotated[int, Field(ge=0, le=1_000_000)] = 10_000
    job_attempts: Annotated[int, Field(ge=1, le=1_000)] = 5
    job_seconds: Annotated[int, Field(ge=1, le=10 * 366 * 86_400)] = 7 * 86_400
    batch_lines: Annotated[int, Field(ge=1, le=100_000)] = 10_000
    batch_bytes: Annotated[int, Field(ge=1_000, le=200_000_000)] = 20_000_000
    batches_open: Annotated[int, Field(ge=0, le=10_000)] = 10
    files: Annotated[int, Field(ge=0, le=10_000)] = 10
    file_seconds: Annotated[int, Field(ge=1, le=366 * 86_400)] = 86_400
    idempotent_bytes: Annotated[int, Field(ge=0, le=256 * 2**20)] = 16 * 2**20
    idempotent_seconds: Annotated[int, Field(ge=1, le=366 * 86_400)] = 86_400


class WorldConfig(_Part):
    """The YAML file. With none, one bundled model that Aliquot starts itself."""

    models: Annotated[list[ModelConfig], Field(min_length=1)] = [
        ModelConfig(name=BUNDLED_NAME, path=str(BUNDLED_PATH))
    ]
    verifiers: list[VerifierConfig] = []
    defaults: Defaults = Defaults()
    limits: Limits = Limits()
    webhooks: WebhooksConfig = WebhooksConfig()

    @model_validator(mode="after")
    def _names(self) -> WorldConfig:
        for kind, names in (
            ("models", [m.name for m in self.models]),
            ("verifiers", [v.name for v in self.verifiers]),
        ):
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise ValueError(f"{kind}: the name {twice.pop()} is given twice")
        return self


def load_settings(**overrides: Any) -> Settings:
    """Settings from the environment; an override that is not None wins. Raises SettingsError."""
    try:
        return Settings(**{key: value for key, value in overrides.items() if value is not None})
    except ValidationError as error:
        raise SettingsError(_sentences("ALIQUOT_* settings", error)) from error


def load_world(path: Path | None) -> WorldConfig:
    """The configuration in the YAML file at `path`. Raises SettingsError."""
    if path is None:
        return WorldConfig()
    try:
        raw = yaml.safe_load(path.read_text())
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read: {error.strerror}. Give --config a file that exists."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not YAML: {error}") from error
    try:
        return WorldConfig.model_validate(raw or {})
    except ValidationError as error:
        raise SettingsError(_sentences(str(path), error)) from error


def _sentences(source: str, error: ValidationError) -> str:
    lines = []
    for one in error.errors(include_url=False):
        where = ".".join(map(str, one["loc"])) or "the file"
        what = one["msg"].removeprefix("Value error, ")
        if one["type"] == "extra_forbidden":
            what = "is no setting; take it out"
        lines.append(f"  {where}: {what}")
    return "\n".join([f"{source} cannot be used:", *lines])
