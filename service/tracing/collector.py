"""The collector that spans are sent to."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, HttpUrl


def _collector(given: HttpUrl) -> HttpUrl:
    if given.username or given.password or given.query or given.fragment:
        raise ValueError(
            "should be http://host:4318 or https://host/path, without a password, a query or a fragment; what a "
            "collector wants to be told goes into OTEL_EXPORTER_OTLP_HEADERS, as name=value"
        )
    return given


CollectorUrl = Annotated[HttpUrl, AfterValidator(_collector)]


def traces_url(collector: HttpUrl) -> str:
    """Where traces go: the path that was given, or OTLP's own where there was none."""
    return str(collector) if (collector.path or "/") != "/" else f"{str(collector).rstrip('/')}/v1/traces"
