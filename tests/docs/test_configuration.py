"""configuration.md: its first file has every key there is, as it says, and the defaults that its tables tell."""

import re

import pytest
import yaml

from service.settings import Defaults, Limits, ModelConfig, WorldConfig
from service.webhook_settings import WebhooksConfig
from tests.reference import ROOT

PAGE = (ROOT / "docs/configuration.md").read_text()
WHOLE = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0])


@pytest.mark.parametrize(
    ("config", "given"),
    [
        (WorldConfig, WHOLE),
        (ModelConfig, {key: None for model in WHOLE["models"] for key in model}),
        (Defaults, WHOLE["defaults"]),
        (Limits, WHOLE["limits"]),
        (WebhooksConfig, WHOLE["webhooks"]),
    ],
)
def test_the_first_file_has_every_key(config, given):
    assert given.keys() == config.model_fields.keys()


def test_its_limits_are_the_defaults():
    assert Limits(**WHOLE["limits"]) == Limits()
