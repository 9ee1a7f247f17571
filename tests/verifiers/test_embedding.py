import asyncio

import pytest
from aiohttp import web

from engines.base import EngineGarbage, EngineUnavailable
from engines.transport import Transport
from tests.stand_ins import StandInEmbeddings, serving
from verifiers.base import Embedded
from verifiers.embedding import Embedding

VECTORS = {"up": (1.0, 0.0), "down": (0.0, -1.0), " ": (0.5, 0.5)}


async def test_every_text_has_its_vector_and_equal_ones_are_sent_once():
    server = StandInEmbeddings(VECTORS)
    async with serving(server.app()) as url:
        http = Transport(url)
        embedded = await Embedding("e", http, "m").embed(["down", "up", "", "down"])
        await http.close()
    assert embedded.vectors == ((0.0, -1.0), (1.0, 0.0), (0.5, 0.5), (0.0, -1.0))
    assert embedded.read == len("down" + "up" + " ")
    (sent,) = server.requests
    assert sent["input"] == ["down", "up", " "]
    assert (sent["model"], sent["encoding_format"], sent["truncate_prompt_tokens"]) == ("m", "float", -1)


async def test_no_texts_need_no_server():
    assert await Embedding("e", Transport("http://127.0.0.1:9"), "m").embed([]) == Embedded(())


def _answering(answer):
    app = web.Application(handler_args={"handler_cancellation": True})
    app.router.add_post("/v1/embeddings", answer)
    return app


@pytest.mark.parametrize(
    "data",
    [
        [],
        [{"embedding": [1.0]}],
        [{"embedding": [1.0]}, {"embedding": [1.0, 2.0]}],
        [{"embedding": []}, {"embedding": []}],
        [{"embedding": "AAAA"}, {"embedding": "AAAA"}],
        [{"embedding": [None]}, {"embedding": [None]}],
        "many",
    ],
)
async def test_garbage_is_told_as_such(data):
    async def answer(_):
        return web.json_response({"data": data})

    async with serving(_answering(answer)) as url:
        http = Transport(url)
        with pytest.raises(EngineGarbage):
            await Embedding("e", http, "m").embed(["a", "b"])
        await http.close()


async def test_a_late_server_is_unavailable():
    async def answer(_):
        await asyncio.Event().wait()

    async with serving(_answering(answer)) as url:
        http = Transport(url)
        with pytest.raises(EngineUnavailable, match="e did not answer in time"):
            await Embedding("e", http, "m").embed(["a"], seconds=0.05)
        await http.close()
