"""Settings: defaults, what swarm.toml documents, what is refused and how."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest

from node.platform.config import SETTINGS, ConfigError, load_config

DOCUMENTED = Path(__file__).parents[3] / "swarm.toml"
PEER = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"


@pytest.fixture(autouse=True)
def _empty_user_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "user"))


def file_with(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "swarm.toml"
    path.write_text(text)
    return path


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        load_config(file_with(tmp_path, text), {})
    return str(refused.value)


def test_without_a_file_every_setting_has_its_default(tmp_path: Path) -> None:
    config = load_config(None, {})
    assert config.home == tmp_path / "user" / ".autoresearch-node"
    assert config.objective == "auto"
    assert config.replicate_share == 0.2
    assert config.blob_quota_bytes == 512 * 1024 * 1024


def test_swarm_toml_documents_every_setting_at_its_default() -> None:
    document = tomllib.loads(DOCUMENTED.read_text())
    for setting in SETTINGS:
        table = document[setting.table] if setting.table else document
        assert table[setting.key] == setting.default, setting.path
    tables = {setting.table for setting in SETTINGS if setting.table}
    written = sum(len(document[name]) for name in tables) + len(document) - len(tables)
    assert written == len(SETTINGS)
    assert load_config(DOCUMENTED, {}) == load_config(None, {})


def test_every_setting_in_swarm_toml_is_explained_above_it() -> None:
    lines = DOCUMENTED.read_text().splitlines()
    for setting in SETTINGS:
        number = next(n for n, line in enumerate(lines) if re.match(rf"{setting.key} = ", line))
        assert lines[number - 1].startswith("# "), setting.path


def test_a_file_in_the_home_is_read_and_options_win_over_it(tmp_path: Path) -> None:
    (tmp_path / "swarm.toml").write_text('[research]\nseed = 4\nreplicate_share = 1\n[log]\nlevel = "debug"\n')
    config = load_config(None, {"home": str(tmp_path), "seed": 7})
    assert (config.home, config.seed, config.replicate_share, config.log_level) == (tmp_path, 7, 1.0, "debug")


def test_an_option_that_is_wrong_is_named() -> None:
    with pytest.raises(ConfigError, match=r"option --listen: expected a list .*, not \[\"nowhere\"\]"):
        load_config(None, {"listen": ["nowhere"]})
    with pytest.raises(ConfigError, match=r"option --seed: expected a whole number, 0 or more, not -1"):
        load_config(None, {"seed": -1})


def test_addresses_of_each_form_are_taken(tmp_path: Path) -> None:
    text = f"""
    [swarm]
    bootstrap = ["/ip4/192.0.2.7/tcp/4001/p2p/{PEER}", "/dns4/node.example/tcp/4001/p2p/{PEER}"]
    [network]
    listen = ["/ip4/127.0.0.1/tcp/0", "/ip6/::1/tcp/4001"]
    """
    config = load_config(file_with(tmp_path, text), {})
    assert len(config.bootstrap) == len(config.listen) == 2


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("swarm", "objective = 3"),
        ("swarm", 'objective = " "'),
        ("swarm", 'objective = "a\\u001bb"'),
        ("swarm", 'bootstrap = "/ip4/192.0.2.7/tcp/4001"'),
        ("swarm", 'bootstrap = ["/ip4/192.0.2.7/tcp/4001"]'),
        ("network", "listen = []"),
        ("network", 'listen = ["/ip4/1.2.3/tcp/0"]'),
        ("network", 'listen = ["/ip4/1.2.3.4/tcp/65536"]'),
        ("network", 'listen = ["/ip6/zz/tcp/1"]'),
        ("research", "replicate_share = 1.1"),
        ("research", "replicate_share = nan"),
        ("research", "replicate_share = true"),
        ("research", "seed = 1.0"),
        ("llm", 'model = "two words"'),
        ("llm", 'base_url = "https://user:secret@host/v1"'),
        ("llm", 'base_url = "ftp://host/v1"'),
        ("llm", 'key_env = "sk-not-a-name"'),
        ("llm", "price_answer = -1"),
        ("llm", "tokens_total = 1e6"),
        ("llm", "money_total = inf"),
        ("agent", 'command = "my-agent --quiet"'),
        ("agent", 'command = [""]'),
        ("agent", 'environment = ["KEY=value"]'),
        ("limits", "blob_quota_mb = 0"),
        ("limits", "authors = true"),
        ("limits", "objective_memory_mb = -1"),
        ("limits", "objective_wall_minutes = 0"),
        ("limits", "objective_threads = 2000"),
        ("manners", "on_battery = 1"),
        ("log", 'level = "loud"'),
        ("log", "level = [1979-05-27]"),
    ],
)
def test_a_wrong_value_is_refused_with_line_expectation_and_default(tmp_path: Path, table: str, line: str) -> None:
    text = refusal(tmp_path, f"# a comment\n[{table}]\n{line}\n")
    setting = next(s for s in SETTINGS if (s.table, s.key) == (table, line.split(" ")[0]))
    assert text.startswith(f"{tmp_path / 'swarm.toml'}, line 3: [{table}] {setting.key} is ")
    assert f"expected {setting.expected};" in text
    assert "remove the line to use the default" in text


def test_a_setting_misspelt_or_in_the_wrong_table_is_refused_with_advice(tmp_path: Path) -> None:
    misspelt = refusal(tmp_path, "[research]\nreplicat_share = 0.5\n")
    assert misspelt.endswith("line 2: [research] has no setting 'replicat_share'; did you mean 'replicate_share'?")
    assert "it belongs below [research]" in refusal(tmp_path, "seed = 3\n")
    assert "it belongs above the first table" in refusal(tmp_path, '[log]\nhome = "/x"\n')
    assert "the settings there are level" in refusal(tmp_path, '[log]\ncolour = "red"\n')
    assert refusal(tmp_path, "[reserch]\n").endswith("line 1: there is no table [reserch]; did you mean [research]?")
    assert "there is no table [log.more]" in refusal(tmp_path, "[log.more]\nx = 1\n")
    assert "write its settings below [log]" in refusal(tmp_path, 'log = "info"\n')


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    assert "is not valid TOML" in refusal(tmp_path, "[research\n")
    for text in ("x = " + "[" * 5000, "[limits]\ndata_quota_mb = " + "9" * 5000):
        assert "cannot be read" in refusal(tmp_path, text)
    assert "line 1" in refusal(tmp_path, "[research\n")
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "absent.toml", {})
    with pytest.raises(ConfigError, match=r"is a folder, where a file should be: .* check --config"):
        load_config(tmp_path, {})
    (tmp_path / "windows.toml").write_bytes(b"\xef\xbb\xbf[research]\r\nseed = 7\r\n")
    assert load_config(tmp_path / "windows.toml", {}).seed == 7
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(tmp_path / "bytes.toml", {})
    (tmp_path / "huge.toml").write_bytes(b"#" * (1 << 21))
    with pytest.raises(ConfigError, match="over 1 MiB"):
        load_config(tmp_path / "huge.toml", {})


def test_what_lies_where_the_settings_of_a_home_should_be_is_no_reason_to_wait_or_to_take_the_defaults(
    tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / "swarm.toml")
    with pytest.raises(ConfigError, match="no ordinary file"):
        load_config(None, {"home": str(tmp_path)})
    (tmp_path / "swarm.toml").unlink()
    (tmp_path / "swarm.toml").symlink_to("/nowhere/at/all")
    with pytest.raises(ConfigError, match="is a link to /nowhere/at/all"):
        load_config(None, {"home": str(tmp_path)})
