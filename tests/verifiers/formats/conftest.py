"""One worker process for all the tests of a module that need one."""

from collections.abc import AsyncIterator

import pytest_asyncio

from verifiers.workers import Workers


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def workers() -> AsyncIterator[Workers]:
    pool = Workers(size=1)
    yield pool
    await pool.close()
