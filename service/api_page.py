"""The API's description as a page to read."""

from __future__ import annotations

from html import escape
from typing import Any

import msgspec

from service.replies import encode

Json = dict[str, Any]


def page(description: Json) -> bytes:
    """The description as one HTML page that loads nothing."""
    routes = "".join(
        f"<h2><code>{method.upper()} {path}</code></h2><p>{escape(told['summary'])}</p>{_details(told)}"
        for path, methods in description["paths"].items()
        for method, told in methods.items()
    )
    schemas = "".join(
        f'<details id="{name}"><summary><code>{name}</code> {escape(schema.get("description", ""))}</summary>'
        f"<pre>{_pretty(schema)}</pre></details>"
        for name, schema in description["components"]["schemas"].items()
    )
    style = "body{font:16px/1.5 system-ui;max-width:52rem;margin:2rem auto;padding:0 1rem}pre{overflow:auto}"
    head = f"<!doctype html><meta charset=utf-8><title>Aliquot API</title><style>{style}</style>"
    told = f'{escape(description["info"]["description"])} As <a href="/openapi.json">OpenAPI</a>.'
    return f"{head}<h1>Aliquot API</h1><p>{told}</p>{routes}<h2>Schemas</h2>{schemas}".encode()


def _details(told: Json) -> str:
    body = "".join(map(_body, told.get("requestBody", {}).get("content", {}).items()))
    rows = "".join(
        f"<li>{status}: {escape(r['description'])}</li>" for status, r in told["responses"].items()
    )
    return f"{body}<ul>{rows}</ul>"


def _body(content: tuple[str, Json]) -> str:
    """A body's type, and its schema where that has a name."""
    kind, told = content
    name = told.get("schema", {}).get("$ref", "").rpartition("/")[2]
    return (
        f'<p>Body: <a href="#{name}">{name}</a></p>' if name else f"<p>Body: <code>{escape(kind)}</code></p>"
    )


def _pretty(schema: Any) -> str:
    return escape(msgspec.json.format(encode(schema), indent=2).decode())
