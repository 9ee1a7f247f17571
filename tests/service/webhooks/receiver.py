"""A host that takes webhooks."""

from __future__ import annotations

from aiohttp import web


class Receiver:
    """Answers with `statuses` in turn, the last one for ever."""

    def __init__(self, *statuses: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.statuses = list(statuses)
        self.headers = headers
        self.body = body
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.paths: list[str] = []

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        return app

    async def _take(self, request: web.Request) -> web.Response:
        self.heard.append((dict(request.headers), await request.read()))
        self.paths.append(request.path)
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return web.Response(status=status, headers=self.headers, body=self.body)
