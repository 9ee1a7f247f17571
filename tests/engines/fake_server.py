"""Stands in for vLLM's API server: takes its command line, answers `/health` and a first request.

The last argument names what goes wrong: `crash`, `hang`, `refuse`, `helper` (it starts a process of its own).
`GET /die` ends it, `GET /sick` makes `/health` answer 503.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    sick = False

    def do_GET(self) -> None:
        if self.path == "/die":
            os._exit(3)
        if self.path == "/sick":
            Handler.sick = True
        self.answer(503 if Handler.sick else 200)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        print("asked", self.path, body.decode(), flush=True)
        self.answer(400 if sys.argv[-1] == "refuse" else 200)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    print("(EngineCore pid=7) INFO 11-21 23:00:29 [core.py:1] Loading half a model", flush=True)
    if sys.argv[-1] == "crash":
        sys.exit("RuntimeError: Engine: CUDA out of memory")
    if sys.argv[-1] == "hang":
        time.sleep(60)
    if sys.argv[-1] == "helper":
        subprocess.Popen(["sleep", "60"])
    port = int(sys.argv[sys.argv.index("--port") + 1])
    HTTPServer(("127.0.0.1", port), Handler).serve_forever()


main()
