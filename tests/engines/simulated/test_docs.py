import re

from engines.simulated.problems import RewardSettings, SimulatedSettings
from service.cli.simulate import configuration
from tests.reference import ROOT

PAGE = (ROOT / "docs" / "simulation.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_program_runs_and_prints_what_is_shown(capsys):
    (program,) = blocks("python")
    exec(compile(program, "simulation.md", "exec"), {})
    assert capsys.readouterr().out == blocks("text")[1]


def test_the_configuration_is_what_is_printed():
    assert blocks("yaml") == [configuration("http://127.0.0.1:8100")]


def test_no_setting_is_left_out():
    names = [*SimulatedSettings.__dataclass_fields__, *RewardSettings.__dataclass_fields__]
    assert [name for name in names if f"`{name}`" not in PAGE] == []
