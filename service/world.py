"""The configured world, alive: engines, verifiers, workers, and the vLLMs that Aliquot started itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Final

from yarl import URL

from engines.base import Engine
from engines.devices import detect_device
from engines.launch import LaunchSpec, Progress, Supervisor, free_port
from engines.pool import Pool
from engines.separate import SeparateCalls
from engines.transport import Transport
from engines.vllm import VllmEngine
from service.admission import Admission
from service.batches.batches import Batches
from service.draining import Draining
from service.errors import ApiError
from service.jobs.jobs import Jobs
from service.records import Records
from service.schemas import VerifierRequest
from service.serving import Bodies
from service.settings import Defaults, Limits, ModelConfig, Settings, SettingsError, WorldConfig
from service.shapes import Shapes
from service.store.client import Store
from service.tariffs import Tariffs
from service.tenants.tenants import Tenants
from service.thinking import Thinking
from service.verifying import Verifiers, authorization
from service.warming import Warming
from service.webhooks.queue import Webhooks
from strategies.base import Strategy
from strategies.registry import registry
from verifiers.answers import Answers
from verifiers.base import Embedder, Verifier
from verifiers.workers import Workers

if TYPE_CHECKING:
    from service.tracing.tracing import Tracing

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
        self.pools: dict[str, Pool] = {}
        self.tracing: Tracing | None = None
        self.verifiers = Verifiers(config, self.engine)
        self.shapes = Shapes()
        self.store = Store(settings)
        self.thinking = Thinking()
        self.records = Records(self.store, config.limits, self.thinking)
        self.tariffs = Tariffs(self.shapes, self.records)
        self.tenants = Tenants(self.store, settings)
        self.warming = Warming(self.thinking)
        self.draining = Draining()
        self.admission = Admission(config.limits, self.draining)
        self.bodies = Bodies(config.limits)
        self.jobs = Jobs(self.store, config.limits)
        self.webhooks = Webhooks(self.store, config.webhooks)
        self.batches = Batches(self.store, config.limits, self.jobs, self.webhooks)
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
            if self._settings.otlp_endpoint:
                from service.tracing.tracing import Tracing  # a tenth of a second, for those who trace

                self.tracing = Tracing(self._settings.otlp_endpoint)
                stack.push_async_callback(self.tracing.close)
            stack.push_async_callback(self.workers.close)
            stack.push_async_callback(self.verifiers.close)
            stack.push_async_callback(self.store.stop)
            await self.store.start()
            stack.push_async_callback(self.tenants.close)
            stack.push_async_callback(self.thinking.close)
            stack.callback(asyncio.create_task(self.thinking.run(_load)).cancel)
            stack.push_async_callback(self.records.writer.drain)
            stack.push_async_callback(self.tariffs.close)
            stack.push_async_callback(self.warming.close)
            stack.push_async_callback(self.admission.close)
            await asyncio.gather(*map(self.tariffs.known, self.config.models))
            for model in self.config.models:
                urls = [str(url) for url in model.urls] or [await self._start(model, stack)]
                pool = self.pools[model.name] = _pool(model, urls, self.tracing)
                self._engines[model.name] = SeparateCalls(
                    pool, each="sample" if model.separate_calls else "prompt"
                )
                told = {_name(url): Transport(url, authorization(model.api_key)) for url in urls}
                self.admission.watch(model.name, told)
                stack.push_async_callback(self._engines[model.name].close)
            stack.push_async_callback(self.webhooks.close)
            stack.push_async_callback(self.jobs.close)
            stack.push_async_callback(self.batches.close)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def ready(self) -> dict[str, bool]:
        """Whether each model's engine answers."""
        answers = await asyncio.gather(*(engine.ready() for engine in self._engines.values()))
        return dict(zip(self._engines, answers, strict=True))

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


def _pool(model: ModelConfig, urls: Sequence[str], tracing: Tracing | None) -> Pool:
    headers = authorization(model.api_key)
    replicas: dict[str, Engine] = {}
    for url in urls:
        engine = VllmEngine(model.name, url, served_name=model.served_name, headers=headers)
        name = _name(url)
        replicas[name] = tracing.engine(engine, name) if tracing else engine
    return Pool(replicas)


def _name(url: str) -> str:
    """A replica's address as metrics and traces show it."""
    return str(URL(url).with_user(None).with_query(None).with_fragment(None)).rstrip("/")
