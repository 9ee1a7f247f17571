import pytest

from service.settings import Settings, SettingsError, WorldConfig, load_settings, load_world
from service.world import World

DESIGN = """
models:
  - name: smollm2-135m
    urls: [http://127.0.0.1:8100]
    served_name: smollm2-135m
    path: models/smollm2-135m
    hardware: h100-sxm
    accelerators: 1
    usd_per_hour: 2.49
verifiers:
  - {name: rm, kind: outcome_reward, url: "http://127.0.0.1:8101", model: rm, route: classify}
  - {name: big-judge, kind: judge, model: smollm2-135m}
defaults:
  verifier: rm
  budget: {samples: 8, tokens: 4096, seconds: 60}
  effort: {low: {samples: 2}, medium: {samples: 8}, high: {samples: 32}}
"""


def refused(tmp_path, text: str) -> str:
    file = tmp_path / "world.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError) as error:
        World(Settings(), load_world(file))
    return str(error.value)


def test_a_whole_file_is_read(tmp_path):
    file = tmp_path / "world.yaml"
    file.write_text(DESIGN)
    config = load_world(file)
    assert config.models[0].usd_per_hour == 2.49
    assert [v.kind for v in config.verifiers] == ["outcome_reward", "judge"]
    assert World(Settings(), config).verifiers.names[-2:] == ["rm", "big-judge"]


def test_without_a_file_there_is_the_bundled_model():
    assert [model.name for model in WorldConfig().models] == ["smollm2-135m"]
    assert WorldConfig().models[0].urls == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("modles: []", "modles: is no setting"),
        ("models: [{name: m, urls: ['http://x'], temprature: 1}]", "models.0.temprature: is no setting"),
        ("models: [{name: m}]", "give `urls` of vLLM servers"),
        ("models: []", "models"),
        ("models: [{name: 'a b', path: x}]", "models.0.name"),
        ("models: [{name: m, path: x}, {name: m, path: y}]", "the name m is given twice"),
        (
            "verifiers: [{name: v, kind: oracle}]",
            "'outcome_reward', 'process_reward', 'judge', 'http', 'embedding'",
        ),
        ("verifiers: [{name: v, kind: judge, model: gone}]", "there is no model gone"),
        ("verifiers: [{name: judge, kind: judge, model: smollm2-135m}]", "judge is built in"),
        (
            "verifiers: [{name: v, kind: process_reward, model: m}]",
            "verifiers.0.process_reward.url: Field required",
        ),
        (
            "verifiers: [{name: v, kind: process_reward, url: 'http://x', model: m, aggregate: max}]",
            "verifiers.0.process_reward.aggregate",
        ),
        (
            "verifiers: [{name: v, kind: process_reward, url: 'http://x', model: m, step_token: ' '}]",
            "verifiers.0.process_reward.step_token",
        ),
        (
            "verifiers: [{name: v, kind: http, url: 'http://x', model: m}]",
            "verifiers.0.http.model: is no setting",
        ),
        ("verifiers: [{name: v, kind: http, url: 'file:///etc/passwd'}]", "verifiers.0.http.url"),
        ("verifiers: [{name: v, kind: http, url: 'http://x', timeout: 0}]", "verifiers.0.http.timeout"),
        (
            'verifiers: [{name: v, kind: http, url: "http://x", headers: {A: "1\\nB: 2"}}]',
            "verifiers.0.http.headers.A",
        ),
        (
            "{verifiers: [{name: v, kind: embedding, url: 'http://x', model: m}], defaults: {verifier: v}}",
            "v scores nothing",
        ),
        ("verifiers: [{name: unit_tests, kind: http, url: 'http://x'}]", "unit_tests is built in"),
        ("defaults: {strategy: luck}", "there is no luck"),
        ("defaults: {verifier: gone}", "gone is no verifier"),
        ("defaults: {budget: {samples: 0}}", "defaults.budget.samples"),
        ("defaults: {budget: {samples: 1, seconds: .inf}}", "defaults.budget.seconds"),
        ("limits: {samples: 1000000}", "limits.samples"),
        ("a: [", "is not YAML"),
        ("- 1", "the file"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_where_and_why(tmp_path, text, says):
    assert says in refused(tmp_path, text)


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://someone:p%40ss@h:6380/3",
        "rediss://:s3cret@h/0?ssl_cert_reqs=none",
        "unix:///run/redis.sock",
    ],
)
def test_the_address_of_a_redis_is_taken_and_never_shown(monkeypatch, url):
    monkeypatch.setenv("ALIQUOT_REDIS_URL", url)
    settings = load_settings()
    assert settings.redis_url.get_secret_value() == url
    assert url not in f"{settings!r}{settings}"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h:6379",
        "http://:s3cret@h",
        "redis://",
        "unix://",
        "redis://:s3/cret@h:6379/0",
        "redis://:s3cret@h:99999",
        "redis://:s3cret@h:x",
        "redis://:s3cret@h/first",
        "redis://:s3cret@h?socket_timeout=9",
        "redis://:s3cret@[h",
        "redis://:s3#cret@h",
    ],
)
def test_what_is_no_address_of_a_redis_is_told_without_it(monkeypatch, url):
    monkeypatch.setenv("ALIQUOT_REDIS_URL", url)
    with pytest.raises(
        SettingsError, match=r"redis_url: should be redis://host:6379/0, rediss://"
    ) as refused:
        load_settings()
    assert "s3" not in str(refused.value)


@pytest.mark.parametrize("prefix", ["", "a:b", "a b", "*", "x" * 65])
def test_a_prefix_that_could_reach_into_others_keys_is_refused(monkeypatch, prefix):
    monkeypatch.setenv("ALIQUOT_REDIS_PREFIX", prefix)
    with pytest.raises(SettingsError, match="redis_prefix"):
        load_settings()


def test_a_file_that_is_not_there_is_told_so(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        load_world(tmp_path / "gone.yaml")


def test_the_environment_sets_the_process_and_arguments_win(monkeypatch):
    monkeypatch.setenv("ALIQUOT_PORT", "9000")
    monkeypatch.setenv("ALIQUOT_LOG_LEVEL", "debug")
    assert load_settings().port == 9000
    assert load_settings(port=9001, host=None).port == 9001
    monkeypatch.setenv("ALIQUOT_PORT", "many")
    with pytest.raises(SettingsError, match="port"):
        load_settings()
