"""`aliquot replay`: a job's journal run again, without an engine, and compared with its result."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from service.cli.client import console, fail, plain
from service.cli.files import check_writable, write
from service.journal_file import JournalError, JournalFile, read_journal
from service.replaying import Replayed
from service.replaying import replay as replayed
from verifiers.workers import Workers

MOST_BYTES: Final = 2**27

File = Annotated[Path, typer.Argument(help="A journal, as GET /v1/jobs/{id}/journal gives it.")]
Out = Annotated[Path | None, typer.Option(help="Where the outcome goes, as JSON.")]


def replay(file: File, out: Out = None) -> None:
    """Run a job's journal again, without an engine or verifier, and say whether the outcome is the recorded one."""
    try:
        with file.open("rb") as opened:
            data = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise fail(f"{file} cannot be read: {error.strerror}.") from error
    if len(data) > MOST_BYTES:
        raise fail(f"{file} is larger than {MOST_BYTES >> 20} MiB, the most that is replayed.")
    if out:
        if out.resolve() == file.resolve():
            raise fail(f"--out {out} is the journal itself. Name another file.")
        check_writable(out, "--out")
    try:
        journal = read_journal(data)
        found = asyncio.run(_replay(journal))
    except JournalError as error:
        raise fail(f"{file} cannot be replayed: {error}.") from error
    if out:
        write(out, msgspec.json.format(msgspec.json.encode(found.outcome)), "--out")
        console.print(plain(f"Wrote {out}."), soft_wrap=True)
    if found.differences:
        raise fail(f"The outcome is not the recorded one. They differ in {', '.join(found.differences)}.")
    if journal.result is None:
        console.print(plain("The journal holds no result to compare the outcome with."), soft_wrap=True)
    else:
        console.print(plain("The outcome is the recorded one."), soft_wrap=True)


async def _replay(journal: JournalFile) -> Replayed:
    workers = Workers()
    try:
        return await replayed(journal, workers)
    finally:
        await workers.close()
