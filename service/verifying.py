"""Which verifier a request gets: the built-in ones, and those of the configuration with their connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from engines.base import Engine
from engines.transport import Transport
from service.errors import undoable, unreadable
from service.schemas import VerifierRequest
from service.settings import (
    CostedConfig,
    EmbeddingConfig,
    HttpConfig,
    JudgeConfig,
    ModelConfig,
    OutcomeRewardConfig,
    ProcessRewardConfig,
    SettingsError,
    VerifierConfig,
    WorldConfig,
)
from strategies.base import Strategy
from verifiers.answers import Answers
from verifiers.base import Verifier
from verifiers.embedding import Embedding
from verifiers.exact import Exact
from verifiers.http import Endpoint, HttpVerifier
from verifiers.judge import Judge
from verifiers.outcome_reward import OutcomeReward
from verifiers.process_reward import ProcessReward
from verifiers.sandbox import Sandbox
from verifiers.self_certainty import SelfCertainty
from verifiers.unit_tests import UnitTests

FindEngine = Callable[[str, str], Engine]
"""The engine of a model, and the field that asks for it. Raises ApiError where there is none."""


@dataclass(frozen=True, slots=True)
class Asking:
    """What a verifier is made from: the request's options, engine and answer format, other engines, the sandbox."""

    options: Mapping[str, str]
    engine: Engine
    answers: Answers
    find: FindEngine
    sandbox: Sandbox


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A verifier that needs no configuration, and its options: what each is that it must have, None for the others."""

    description: str
    make: Callable[[Asking], Verifier]
    options: Mapping[str, str | None] = field(default_factory=dict)


def _judge(asking: Asking) -> Verifier:
    model = asking.options.get("model")
    return Judge(asking.find(model, "scaling.verifier.model") if model else asking.engine)


BUILT_IN: Final[Mapping[str, BuiltIn]] = {
    "self_certainty": BuiltIn(
        "The model's own probabilities of its tokens; costs nothing.", lambda asking: SelfCertainty()
    ),
    "judge": BuiltIn(
        "The generator, or `model`, is asked whether the response is right.", _judge, {"model": None}
    ),
    "exact": BuiltIn(
        "Whether the answer equals `reference`, under the request's answer format.",
        lambda asking: Exact(asking.answers, asking.options["reference"]),
        {"reference": "the right answer"},
    ),
    "unit_tests": BuiltIn(
        "Runs the response's Python code against `tests` in a sandbox.",
        lambda asking: UnitTests(asking.options["tests"], asking.options.get("entry_point"), asking.sandbox),
        {"tests": "the tests to run", "entry_point": None},
    ),
}


class Verifiers:
    """What a request can name as its verifier. Connections are opened when first used; `close` releases them."""

    def __init__(self, config: WorldConfig, find: FindEngine) -> None:
        self.embedding: Embedding | None = None
        self.embedding_config: EmbeddingConfig | None = None
        self._configs = config.verifiers
        self._models = {model.name: model for model in config.models}
        self._default = config.defaults.verifier
        self._find = find
        self._sandbox = Sandbox()
        self._connections: list[Transport | Endpoint] = []
        self._make: dict[str, Callable[[], Verifier]] = {}
        for verifier in config.verifiers:
            self._add(verifier)
        self._check()

    async def close(self) -> None:
        for connection in self._connections:
            await connection.close()

    @property
    def names(self) -> list[str]:
        return [*BUILT_IN, *self._make]

    def catalog(self) -> Iterator[dict[str, Any]]:
        """Name, kind and description of each."""
        for name, built_in in BUILT_IN.items():
            yield {"name": name, "kind": name, "description": built_in.description}
        for config in self._configs:
            if config.name in self._make:
                by = "a service" if isinstance(config, HttpConfig) else f"the model {config.model}"
                yield {"name": config.name, "kind": config.kind, "description": f"{config.kind} by {by}"}

    def choose(
        self, asked: str | VerifierRequest | None, strategy: Strategy, engine: Engine, answers: Answers
    ) -> Verifier | None:
        """The verifier of a request: the one asked for, else what the strategy needs. Raises ApiError."""
        if asked is None:
            if strategy.verifier == "none":
                return None
            asked = self._default
        if isinstance(asked, str):
            asked = VerifierRequest(name=asked)
        if asked is not None:
            return self._named(asked, engine, answers)
        if strategy.verifier == "default":
            return SelfCertainty()
        message = f"{strategy.name} needs a verifier. Name one: {', '.join(self.names)}."
        raise undoable("verifier_required", message, "scaling.verifier")

    def free(self, verifier: Verifier) -> bool:
        """Whether no model's compute is spent on its scores, as far as Aliquot is concerned."""
        return isinstance(verifier, SelfCertainty | Exact | UnitTests)

    def costed(self, verifier: Verifier) -> CostedConfig | None:
        """The configuration of the model that scores; None where it is not Aliquot's to know."""
        return (
            self._models[verifier.engine.model]
            if isinstance(verifier, Judge)
            else self.configured(verifier.name)
        )

    def judging(self, name: str, generator: str) -> ModelConfig | None:
        """The model that judges where `name` is a judge; a judge of no model of its own is the generator."""
        if name == "judge":
            return self._models[generator]
        found = (
            config for config in self._configs if isinstance(config, JudgeConfig) and config.name == name
        )
        return next((self._models[config.model] for config in found), None)

    def configured(self, name: str) -> CostedConfig | None:
        """The configuration of a verifier that is a model of its own."""
        found = (config for config in self._configs if isinstance(config, CostedConfig))
        return next((config for config in found if config.name == name), None)

    def _named(self, asked: VerifierRequest, engine: Engine, answers: Answers) -> Verifier:
        name = asked.name
        if name not in self.names:
            known = ", ".join(self.names)
            if any(config.name == name for config in self._configs):
                message = f"{name} embeds steps and scores nothing. Name another: {known}."
                raise undoable("verifier_required", message, "scaling.verifier")
            message = f"There is no verifier {name[:100]!r}. There are {known}."
            raise undoable("unknown_verifier", message, "scaling.verifier")
        built_in = BUILT_IN.get(name)
        for option in asked.options:
            if built_in is None or option not in built_in.options:
                message = f"{name} has no option {option!r}. Leave it out."
                raise unreadable(message, f"scaling.verifier.{option}", "unknown_parameter")
        if built_in is None:
            return self._make[name]()
        for option, what in built_in.options.items():
            if what and option not in asked.options:
                message = f'{name} needs {what}: {{"name": "{name}", "{option}": "…"}}.'
                raise undoable("verifier_required", message, f"scaling.verifier.{option}")
        return built_in.make(Asking(asked.options, engine, answers, self._find, self._sandbox))

    def _add(self, config: VerifierConfig) -> None:
        name = config.name
        match config:
            case JudgeConfig(model=model):
                self._make[name] = lambda: Judge(self._find(model, "scaling.verifier"), name)
            case HttpConfig():
                endpoint = Endpoint(str(config.url), config.headers | authorization(config.api_key))
                self._connections.append(endpoint)
                self._make[name] = partial(HttpVerifier, name, endpoint, config.timeout)
            case OutcomeRewardConfig():
                http = self._connect(config)
                self._make[name] = partial(
                    OutcomeReward, name, http, config.model, config.route, config.positive_label
                )
            case ProcessRewardConfig():
                self._make[name] = partial(
                    ProcessReward,
                    name,
                    self._connect(config),
                    config.model,
                    config.positive_label,
                    config.aggregate,
                    config.step_token,
                    config.separator,
                )
            case EmbeddingConfig() if self.embedding is None:
                self.embedding = Embedding(name, self._connect(config), config.model)
                self.embedding_config = config

    def _connect(self, config: OutcomeRewardConfig | ProcessRewardConfig | EmbeddingConfig) -> Transport:
        http = Transport(str(config.url), authorization(config.api_key))
        self._connections.append(http)
        return http

    def _check(self) -> None:
        """Names in the configuration that name nothing, or two things. Raises SettingsError."""
        if self._default is not None and self._default not in self.names:
            embeds = any(verifier.name == self._default for verifier in self._configs)
            what = "scores nothing; name another" if embeds else "is no verifier; configure it"
            raise SettingsError(f"defaults.verifier: {self._default} {what}")
        for verifier in self._configs:
            if verifier.name in BUILT_IN:
                raise SettingsError(f"verifiers: {verifier.name} is built in; choose another name")
            if isinstance(verifier, JudgeConfig) and verifier.model not in self._models:
                raise SettingsError(f"verifiers.{verifier.name}.model: there is no model {verifier.model}")


def authorization(api_key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}
