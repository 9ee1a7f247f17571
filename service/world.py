"""The configured world, alive: engines, verifiers, workers, and the vLLMs that Aliquot started itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from importlib import import_module
from types import TracebackType
from typing import Final

from engines.base import Engine
from engines.devices import detect_device
from engines.launch import LaunchSpec, Progress, Supervisor, free_port
from engines.pool import Pool
from engines.separate import SeparateCalls
from engines.vllm import VllmEngine
from service.errors import ApiError
from service.records import Records
from service.schemas import VerifierRequest
from service.settings import Defaults, Limits, ModelConfig, Settings, SettingsError, WorldConfig
from service.shapes import Shapes
from service.store.client import Store
from service.tariffs import Tariffs
from service.thinking import Thinking
from service.verifying import Verifiers, authorization
from service.warming import Warming
from strategies.base import Strategy
from strategies.registry import registry
from verifiers.answers import Answers
from verifiers.base import Embedder, Verifier
from verifiers.workers import Workers

HEAVY: Final = ("budgets.recommend", "budgets.profiles", "budgets.allocation", "service.summaries")
"""Modules that take long to import, and that no start waits for."""


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
        self.verifiers = Verifiers(config, self.engine)
        self.shapes = Shapes()
        self.store = Store(settings)
        self.thinking = Thinking()
        self.records = Records(self.store, config.limits, self.thinking)
        self.tariffs = Tariffs(self.shapes, self.records)
        self.warming = Warming(self.thinking)
        self._stack = AsyncExitStack()
        if self.defaults.strategy not in registry():
            raise SettingsError(
                f"defaults.strategy: there is no {self.defaults.strategy}; {', '.join(registry())}"
            )

    @property
    def limits(self) -> Limits:
        return self.config.limits

    @property
    def defaults(self) -> Defaults:
        return self.config.defaults

    async def __aenter__(self) -> World:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.workers.close)
            stack.push_async_callback(self.verifiers.close)
            stack.push_async_callback(self.store.stop)
            await self.store.start()
            stack.push_async_callback(self.thinking.close)
            stack.callback(asyncio.create_task(self.thinking.run(_load)).cancel)
            stack.push_async_callback(self.records.writer.drain)
            stack.push_async_callback(self.tariffs.close)
            stack.push_async_callback(self.warming.close)
            await asyncio.gather(*map(self.tariffs.known, self.config.models))
            for model in self.config.models:
                urls = [str(url) for url in model.urls] or [await self._start(model, stack)]
                self._engines[model.name] = _pool(model, urls)
                stack.push_async_callback(self._engines[model.name].close)
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

    def model(self, name: str, param: str = "model") -> ModelConfig:
        """The configuration of the model `name`, which the field `param` asks for. Raises ApiError 404."""
        self.engine(name, param)
        return next(model for model in self.config.models if model.name == name)

    def verifier(
        self, asked: str | VerifierRequest | None, strategy: Strategy, engine: Engine, answers: Answers
    ) -> Verifier | None:
        """The verifier of a request: the one asked for, else what the strategy needs. Raises ApiError."""
        return self.verifiers.choose(asked, strategy, engine, answers)

    @property
    def embedding(self) -> Embedder | None:
        """What tells steps that say the same from those that do not: the first that is configured."""
        return self.verifiers.embedding

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


def _load() -> None:
    for name in HEAVY:
        import_module(name)


def _pool(model: ModelConfig, urls: Sequence[str]) -> Engine:
    headers = authorization(model.api_key)
    pool = Pool(
        {url: VllmEngine(model.name, url, served_name=model.served_name, headers=headers) for url in urls}
    )
    return SeparateCalls(pool, each="sample" if model.separate_calls else "prompt")
