"""The example of calibration.md is run: its table and its picture are what the page shows."""

import contextlib
import re
import shlex
from xml.etree import ElementTree

import pytest
from structlog.testing import capture_logs

from engines.simulated.engine import SimulatedEngine
from engines.simulated.world import SimulatedWorld
from service.cli.simulate import configuration
from service.settings import load_world
from tests.engines.simulated.serving import serving_world
from tests.reference import ROOT
from tests.service.cli.terminal import aliquot
from tests.service.live import listening

PAGE = (ROOT / "docs" / "calibration.md").read_text()
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found[1]


def facts(picture: str) -> list[str]:
    root = ElementTree.fromstring(picture)
    return [title.text or "" for title in root.iter("{http://www.w3.org/2000/svg}title")]


def alike(one: str, other: str) -> None:
    """Equal but for how numbers round: other versions of scipy may end their searches elsewhere."""
    assert NUMBER.sub("0", one).split() == NUMBER.sub("0", other).split()
    assert [*map(float, NUMBER.findall(one))] == pytest.approx(
        [*map(float, NUMBER.findall(other))], rel=0.02, abs=0.3
    )


async def test_the_example_gives_the_table_and_the_picture_of_the_page(tmp_path):
    with contextlib.chdir(tmp_path):
        exec(compile(block("python"), "calibration.md", "exec"), {})
    async with serving_world(SimulatedEngine(SimulatedWorld())) as engine:
        (tmp_path / "world.yaml").write_text(configuration(engine))
        config = load_world(tmp_path / "world.yaml").model_dump(mode="json")
        with capture_logs():
            async with listening(config) as url:
                program, *words = shlex.split(block("bash"))
                words[words.index("problems.jsonl")] = str(tmp_path / "problems.jsonl")
                result = await aliquot(*words, url=url)
    assert (program, result.exit_code) == ("aliquot", 0), result.output
    alike(result.stdout.replace(f"{tmp_path}/", ""), block("text"))
    drawn = (tmp_path / "problems.simulated.riddles.calibration.svg").read_text()
    shown = (ROOT / "docs" / "calibration.svg").read_text()
    for one, other in zip(facts(drawn), facts(shown), strict=True):
        alike(one, other)
