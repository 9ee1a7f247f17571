"""The configured world, alive: engines, verifiers, workers, and the vLLMs that Aliquot started itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType

from engines.base import Engine
from engines.devices import detect_device
from engines.launch import LaunchSpec, Progress, Supervisor, free_port
from engines.pool import Pool
from engines.separate import SeparateCalls
from engines.transport import Transport
from engines.vllm import VllmEngine
from service.errors import ApiError, undoable, unreadable
from service.schemas import VerifierRequest
from service.settings import (
    Defaults,
    JudgeConfig,
    Limits,
    ModelConfig,
    OutcomeRewardConfig,
    Settings,
    SettingsError,
    WorldConfig,
)
from strategies.base import Strategy
from strategies.registry import registry
from verifiers.answers import Answers
from verifiers.base import Verifier
from verifiers.exact import Exact
from verifiers.judge import Judge
from verifiers.outcome_reward import OutcomeReward
from verifiers.self_certainty import SelfCertainty
from verifiers.workers import Workers

BUILT_IN = {
    "self_certainty": "The model's own probabilities of its tokens; costs nothing.",
    "judge": "The generator, or `model`, is asked whether the response is right.",
    "exact": "Whether the answer equals `reference`, under the request's answer format.",
}


class World:
    """What requests may use. An async context: entering starts what Aliquot runs itself, leaving stops it."""

    def __init__(
        self, settings: Settings, config: WorldConfig, *, progress: Callable[[Progress], None] | None = None
    ):
        self.config = config
        self.workers = Workers()
        self.supervisors: dict[str, Supervisor] = {}
        self._settings = settings
        self._progress = progress
        self._engines: dict[str, Engine] = {}
        self._rewards: dict[str, Transport] = {}
        self._stack = AsyncExitStack()
        self._check()

    @property
    def limits(self) -> Limits:
        return self.config.limits

    @property
    def defaults(self) -> Defaults:
        return self.config.defaults

    async def __aenter__(self) -> World:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.workers.close)
            for model in self.config.models:
                urls = [str(url) for url in model.urls] or [await self._start(model, stack)]
                self._engines[model.name] = _pool(model, urls)
                stack.push_async_callback(self._engines[model.name].close)
            for verifier in self.config.verifiers:
                if isinstance(verifier, OutcomeRewardConfig):
                    self._rewards[verifier.name] = Transport(
                        str(verifier.url), _authorization(verifier.api_key)
                    )
                    stack.push_async_callback(self._rewards[verifier.name].close)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def ready(self) -> dict[str, bool]:
        """Whether each model's engine answers."""
        return {name: await engine.ready() for name, engine in self._engines.items()}

    def engine(self, name: str, param: str = "model") -> Engine:
        """The engine of the model `name`, which the field `param` asks for. Raises ApiError 404."""
        if name not in self._engines:
            known = ", ".join(self._engines)
            message = f"There is no model {name[:100]!r}. There are {known}."
            raise ApiError(404, "model_not_found", message, param=param)
        return self._engines[name]

    def verifier(
        self, asked: str | VerifierRequest | None, strategy: Strategy, engine: Engine, answers: Answers
    ) -> Verifier | None:
        """The verifier of a request: the one asked for, else what the strategy needs. Raises ApiError."""
        if asked is not None:
            return self._named(
                VerifierRequest(name=asked) if isinstance(asked, str) else asked, engine, answers
            )
        if strategy.verifier == "none":
            return None
        if self.defaults.verifier:
            return self._named(VerifierRequest(name=self.defaults.verifier), engine, answers)
        if strategy.verifier == "default":
            return SelfCertainty()
        message = f"{strategy.name} stops when a verifier accepts a sample. Name one: {', '.join(self.verifier_names)}."
        raise undoable("verifier_required", message, "scaling.verifier")

    @property
    def verifier_names(self) -> list[str]:
        return [*BUILT_IN, *(verifier.name for verifier in self.config.verifiers)]

    def _named(self, asked: VerifierRequest, engine: Engine, answers: Answers) -> Verifier:
        if asked.name not in self.verifier_names:
            known = ", ".join(self.verifier_names)
            message = f"There is no verifier {asked.name[:100]!r}. There are {known}."
            raise undoable("unknown_verifier", message, "scaling.verifier")
        takes = {"exact": {"reference"}, "judge": {"model"}}.get(asked.name, set())
        for option in ("reference", "model"):
            if getattr(asked, option) is not None and option not in takes:
                param = f"scaling.verifier.{option}"
                raise unreadable(
                    f"{asked.name} has no option {option!r}. Leave it out.", param, "unknown_parameter"
                )
        if asked.name == "self_certainty":
            return SelfCertainty()
        if asked.name == "exact":
            if asked.reference is None:
                message = 'exact needs the right answer: {"name": "exact", "reference": "…"}.'
                raise undoable("verifier_required", message, "scaling.verifier.reference")
            return Exact(answers, asked.reference)
        if asked.name == "judge":
            return Judge(self.engine(asked.model, "scaling.verifier.model") if asked.model else engine)
        return self._configured(asked.name)

    def _configured(self, name: str) -> Verifier:
        found = next(verifier for verifier in self.config.verifiers if verifier.name == name)
        if isinstance(found, JudgeConfig):
            return Judge(self.engine(found.model), name)
        return OutcomeReward(name, self._rewards[name], found.model, found.route, found.positive_label)

    def _check(self) -> None:
        """Names in the configuration that name nothing. Raises SettingsError."""
        if self.defaults.strategy not in registry():
            raise SettingsError(
                f"defaults.strategy: there is no {self.defaults.strategy}; {', '.join(registry())}"
            )
        if self.defaults.verifier is not None and self.defaults.verifier not in self.verifier_names:
            raise SettingsError(f"defaults.verifier: {self.defaults.verifier} is no verifier; configure it")
        models = {model.name for model in self.config.models}
        for verifier in self.config.verifiers:
            if verifier.name in BUILT_IN:
                raise SettingsError(f"verifiers: {verifier.name} is built in; choose another name")
            if isinstance(verifier, JudgeConfig) and verifier.model not in models:
                raise SettingsError(f"verifiers.{verifier.name}.model: there is no model {verifier.model}")

    async def _start(self, model: ModelConfig, stack: AsyncExitStack) -> str:
        spec = LaunchSpec(
            model_path=str(model.path),
            served_name=model.served_name or model.name,
            port=free_port(),
            python=self._settings.engine_python,
            device=detect_device(),
            max_model_len=model.max_model_len,
        )
        log = self._settings.log_folder / f"vllm-{model.name.replace('/', '_')}.log"
        supervisor = Supervisor(spec, log_path=log, progress=self._progress)
        stack.push_async_callback(supervisor.stop)
        await supervisor.start()
        self.supervisors[model.name] = supervisor
        return supervisor.url


def _pool(model: ModelConfig, urls: Sequence[str]) -> Engine:
    headers = _authorization(model.api_key)
    pool = Pool(
        {url: VllmEngine(model.name, url, served_name=model.served_name, headers=headers) for url in urls}
    )
    return SeparateCalls(pool) if model.separate_calls else pool


def _authorization(api_key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}
