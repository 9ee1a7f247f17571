import json
import xml.etree.ElementTree as ET

import pytest

from tests.service.cli.terminal import aliquot
from tests.service.drawing.traces import SMALL, chosen, node, outcome, steps


@pytest.fixture
def saved(tmp_path):
    """A file that holds a small search."""
    path = tmp_path / "out.json"
    path.write_text(json.dumps(SMALL))
    return path


async def test_a_search_is_drawn_into_the_file_named(saved, tmp_path):
    picture = tmp_path / "tree.svg"
    result = await aliquot("trace", str(saved), "--out", str(picture))
    assert result.exit_code == 0, result.output
    assert result.stdout == f"Wrote {picture}.\n"
    assert ET.parse(picture).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "tree.svg"]


async def test_without_a_name_the_picture_lies_beside_the_outcome(saved):
    result = await aliquot("trace", str(saved))
    assert result.exit_code == 0, result.output
    assert ET.parse(saved.with_suffix(".svg"))


def two_steps(prompt: str):
    while True:
        yield "Seven and eight.\n\n" if "eight." not in prompt else "That makes 15."


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--strategy", "particle_filtering", "--param", "iterations=2"), "iteration 2"),
        (("--strategy", "beam_search"), "KV tokens on the frontier"),
        (("--strategy", "majority"), "its responses"),
    ],
)
async def test_what_ask_writes_is_drawn(served, tmp_path, words, says):
    served.script(two_steps)
    file = tmp_path / "out.json"
    asked = await aliquot("ask", "7 + 8?", "--samples", "4", "--trace", str(file), *words, url=served.url)
    assert asked.exit_code == 0, asked.output
    result = await aliquot("trace", str(file))
    assert result.exit_code == 0, result.output
    drawn = file.with_suffix(".svg").read_text()
    assert f">{words[1]}: " in drawn
    assert says in drawn


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (json.dumps([steps(1, node(1, parent=99))]), "trace.0.nodes.0.parent: 99 is no node."),
        (json.dumps([steps(1, node(1)), chosen(3)]), "trace.1.node: 3 is no node."),
        ("{}", "This is no outcome of /v1/scale"),
        (json.dumps(outcome()), "there is nothing to draw"),
        ("<svg/>", "This is no JSON"),
    ],
)
async def test_what_cannot_be_drawn_is_a_sentence_and_leaves_no_file(tmp_path, content, says):
    file = tmp_path / "out.json"
    file.write_text(content)
    result = await aliquot("trace", str(file))
    assert result.exit_code == 1
    assert f"{file}: " in result.stderr
    assert says in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


async def test_files_that_cannot_be_read_or_written_are_sentences(saved, tmp_path):
    missing = await aliquot("trace", str(tmp_path / "none.json"))
    folder = await aliquot("trace", str(tmp_path))
    nowhere = await aliquot("trace", str(saved), "--out", str(tmp_path / "none" / "x.svg"))
    itself = await aliquot("trace", str(saved), "--out", str(saved))
    results = (missing, folder, nowhere, itself)
    assert [result.exit_code for result in results] == [1, 1, 1, 1]
    says = (
        "none.json cannot be read: No such file",
        "cannot be read: Is a directory",
        "cannot be written",
        "itself",
    )
    for result, words in zip(results, says, strict=True):
        assert words in result.stderr
    assert saved.read_text() == json.dumps(SMALL)


async def test_help_fits_and_shows_an_example():
    result = await aliquot("trace", "--help")
    assert "aliquot trace out.json --out tree.svg" in result.stdout.partition("Examples")[2]
    assert all(len(line) <= 80 for line in result.stdout.splitlines())
