"""OpenAI's client makes a batch of a file and reads what came of it as files."""

import asyncio
import json

import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError

from service.batches import files as files_module
from service.batches.multipart import Upload
from tests.service.batches.services import CHAT, SCALE, jsonl, services


async def ended(client: AsyncOpenAI, id: str):
    async with asyncio.timeout(20):
        while (batch := await client.batches.retrieve(id)).status not in ("completed", "cancelled"):
            await asyncio.sleep(0.02)
    return batch


async def test_openais_client_runs_a_batch_from_file_to_file():
    async with (
        services(limits={"job_attempts": 1}) as service,
        AsyncOpenAI(base_url=f"{service.client.base_url}/v1", api_key="-") as client,
    ):
        content = jsonl(["1", "fail", "3"]).encode()
        file = await client.files.create(file=("in.jsonl", content), purpose="batch")
        assert (file.object, file.bytes, file.filename, file.purpose) == (
            "file",
            len(content),
            "in.jsonl",
            "batch",
        )
        assert (await client.files.content(file.id)).content == content
        batch = await client.batches.create(
            input_file_id=file.id, endpoint=CHAT, completion_window="24h", metadata={"night": "1"}
        )
        assert (batch.input_file_id, batch.completion_window, batch.metadata) == (
            file.id,
            "24h",
            {"night": "1"},
        )
        assert (batch.output_file_id, batch.error_file_id) == (None, None)
        done = await ended(client, batch.id)
        assert done.request_counts.model_dump() == {"total": 3, "completed": 2, "failed": 1}
        out, errors = [
            [json.loads(line) for line in (await client.files.content(id)).text.splitlines()]
            for id in (done.output_file_id, done.error_file_id)
        ]
        assert [batch.id for batch in (await client.batches.list()).data] == [done.id]
        assert (await client.batches.cancel(done.id)).status == "completed"
    assert [line["custom_id"] for line in out] == ["id 1", "id 3"]
    assert out[0]["response"]["body"]["choices"][0]["message"]["content"] == "1!"
    assert [(line["custom_id"], line["error"]["code"]) for line in errors] == [
        ("id fail", "engine_unavailable")
    ]


async def test_files_are_listed_and_deleted_and_bounded():
    async with (
        services(limits={"files": 3}) as service,
        AsyncOpenAI(base_url=f"{service.client.base_url}/v1", api_key="-", max_retries=0) as client,
    ):
        ids = [(await client.files.create(file=b"x", purpose="batch")).id for _ in range(3)]
        full = await service.client.post("/v1/files", files={"file": b"x"}, data={"purpose": "batch"})
        assert (full.status_code, full.json()["error"]["code"]) == (429, "too_many_files")
        assert {file.id for file in (await client.files.list()).data} == set(ids)
        assert (await client.files.delete(ids[0])).deleted
        for asked in (client.files.retrieve, client.files.content, client.files.delete):
            with pytest.raises(NotFoundError):
                await asked(ids[0])
        assert (await client.files.retrieve(ids[1])).bytes == 1
        await client.files.create(file=b"", purpose="batch")


async def test_a_batch_of_a_file_is_checked_as_any_other(monkeypatch):
    monkeypatch.setattr(files_module, "PART_BYTES", 100)
    async with (
        services() as service,
        AsyncOpenAI(base_url=f"{service.client.base_url}/v1", api_key="-") as client,
    ):
        file = await client.files.create(file=jsonl(["1", "1"]).encode(), purpose="batch")
        with pytest.raises(BadRequestError, match="Line 1: url should be /v1/scale"):
            await client.batches.create(input_file_id=file.id, endpoint=SCALE, completion_window="24h")
        with pytest.raises(BadRequestError, match="Line 2: custom_id is that of line 1"):
            await client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
        with pytest.raises(NotFoundError, match="There is no file"):
            await client.batches.create(input_file_id="file-0", endpoint=CHAT, completion_window="24h")
        for body in ({}, {"input_file_id": file.id, "more": 1}, {"input_file_id": 1}, []):
            assert (await service.client.post("/v1/batches", json=body)).status_code == 400


@pytest.mark.parametrize(
    "id", ["file-0", "file-batch_0-output", f"file-batch_{'0' * 32}-output", "..%2fjobs", "file-x-errors"]
)
async def test_what_is_no_file_is_a_404(id):
    async with services() as service:
        for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
            assert (await service.client.request(method, f"/v1/files/{id}{path}")).status_code == 404


async def test_another_tenants_file_is_a_404_and_files_are_kept_for_their_time(world):
    file = await world.batches.files.create("one", Upload("f", b"x"))
    for asked in (world.batches.files.view, world.batches.files.content, world.batches.files.delete):
        with pytest.raises(Exception, match="There is no file"):
            await asked("other", file.id)
    assert await world.batches.files.page("other") == []
    async with world.store.exchange() as redis:
        for part in ((), ("parts",)):
            assert 0 < await redis.ttl(world.store.key("file", file.id, *part)) <= 86_400
