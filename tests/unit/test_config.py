"""Invalid flags and files are rejected with a hint before anything happens."""

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deal_scout_profile import PROFILE
from invoke_stack import config
from invoke_stack.errors import BadInput

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def load(tmp_path, settings=None, environ=None, runtime=""):
    settings = config.DEFAULTS | (settings or {})
    return config.load(tmp_path, settings, environ or {}, runtime, profile=PROFILE)


def test_runtime_flag_overrides_the_configuration(tmp_path):
    assert load(tmp_path).runtime == "auto"
    assert load(tmp_path, {"runtime": "local"}).runtime == "local"
    assert load(tmp_path, {"runtime": "local"}, runtime="compose").runtime == "compose"


@pytest.mark.parametrize(("settings", "flag"), [({}, "docker"), ({"runtime": "x"}, "")])
def test_load_rejects_an_unknown_runtime(tmp_path, settings, flag):
    with pytest.raises(BadInput) as caught:
        load(tmp_path, settings, runtime=flag)
    assert "auto, compose, local, swarm" in caught.value.hint


def test_environment_overrides_the_env_file(tmp_path):
    (tmp_path / ".env.example").write_text("PORT=\nALEMBIC_CMD=\nDB_PORT=\n")
    (tmp_path / ".env").write_text("PORT=9000\nALEMBIC_CMD='alembic upgrade +1'\nMORE=x\n")
    variables = load(tmp_path, environ={"PORT": "9001", "HOME": "/root"}).variables
    assert variables == {"PORT": "9001", "ALEMBIC_CMD": "alembic upgrade +1", "MORE": "x"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "abc"),
        ("PORT", "70000"),
        ("DB_PORT", "0"),
        ("PORT", "٣"),
        ("MIGRATE_DELAYS", "2 x"),
        ("MIGRATE_TIMEOUT", "-1"),
        ("DB_WAIT_TIMEOUT", "soon"),
        ("WEB_CONCURRENCY", "two"),
        ("WEB_CONCURRENCY", "0"),
    ],
)
def test_load_rejects_an_invalid_variable_with_a_hint(tmp_path, name, value):
    (tmp_path / ".env").write_text(f"{name}={value}\n", encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        load(tmp_path)
    assert name in caught.value.message
    assert ".env" in caught.value.message
    assert caught.value.hint


def test_load_accepts_any_value_of_another_project(tmp_path):
    (tmp_path / ".env").write_text("WEB_PORT=127.0.0.1:8080\nPORT=any\n")
    variables = config.load(tmp_path, config.DEFAULTS, {}).variables
    assert variables == {"WEB_PORT": "127.0.0.1:8080", "PORT": "any"}


def test_load_rejects_an_invalid_line_of_the_env_file(tmp_path):
    (tmp_path / ".env").write_text('PORT=9000\nthis is "not it\n')
    with pytest.raises(BadInput, match="line 2"):
        load(tmp_path)


def test_load_rejects_an_env_file_that_is_not_utf8(tmp_path):
    (tmp_path / ".env").write_bytes(b"PORT=\xff\xfe\n")
    with pytest.raises(BadInput):
        load(tmp_path)


@given(st.text())
def test_read_env_file_accepts_or_rejects_any_text(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.env"
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        values = config.read_env_file(path)
    except BadInput:
        return
    assert all(isinstance(value, str) for value in values.values())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10", 10), ("1.5", 1.5), ("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400)],
)
def test_seconds_parses_units(text, seconds):
    assert config.seconds("--timeout", text) == seconds


@given(st.text(max_size=20))
def test_seconds_accepts_or_rejects_any_text(text):
    try:
        assert 0 < config.seconds("--timeout", text) < 1e15
    except BadInput as error:
        assert "--timeout" in error.message


@given(st.text(max_size=20))
def test_any_text_is_a_count_or_refused(text):
    try:
        assert 0 <= config.count("--tail", text) < 1e9
    except BadInput as error:
        assert "--tail" in error.message


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="Windows does not read TZ")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10m", "2026-01-31T11:50:00.000000000Z"),
        ("90", "2026-01-31T11:58:30.000000000Z"),
        ("1h30m", "2026-01-31T10:30:00.000000000Z"),
        ("1.5h", "2026-01-31T10:30:00.000000000Z"),
        ("1d", "2026-01-30T12:00:00.000000000Z"),
        ("1769853600", "2026-01-31T10:00:00.000000000Z"),
        ("1769853600.5", "2026-01-31T10:00:00.500000000Z"),
        ("2026-01-31T10:00:00Z", "2026-01-31T10:00:00.000000000Z"),
        ("2026-01-31T10:00:00.123456789Z", "2026-01-31T10:00:00.123456000Z"),
        ("2026-01-31T10:00:00+02:00", "2026-01-31T08:00:00.000000000Z"),
        ("2026-01-31T10:00", "2026-01-31T09:00:00.000000000Z"),
        ("2026-01-31", "2026-01-30T23:00:00.000000000Z"),
    ],
)
def test_since_accepts_what_docker_logs_accepts(text, expected, monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert config.since("--since", text, NOW) == expected
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.text(max_size=30))
def test_since_accepts_or_rejects_any_text(text):
    try:
        assert config.since("--since", text, NOW).endswith("Z")
    except BadInput as error:
        assert "--since" in error.message


def test_base_url_removes_the_endpoint():
    assert config.base_url("--url", "http://h:1/health") == "http://h:1"
    assert config.base_url("--url", "https://h/") == "https://h"
    assert config.base_url("--url", "http://h:1/api/ready") == "http://h:1/api"
    for url in ("h:1", "ftp://h", "http://", "http://h/other", "http://h/?q"):
        with pytest.raises(BadInput):
            config.base_url("--url", url)


def test_pattern_rejects_an_invalid_regular_expression():
    assert config.pattern("--grep", "a|b").search("xb")
    with pytest.raises(BadInput):
        config.pattern("--grep", "(")


@pytest.mark.parametrize(
    ("key", "value"),
    [("port", "abc"), ("port", 0), ("port", 70000), ("stable", "abc"), ("stable", -1)],
)
def test_load_rejects_an_invalid_port_or_time_with_a_hint(key, value):
    with pytest.raises(BadInput) as caught:
        config.load(Path("nowhere"), config.DEFAULTS | {key: value}, {})
    assert f"INVOKE_STACK_{key.upper()}" in caught.value.message
    assert caught.value.hint


def test_phases_reject_a_pattern_that_is_not_text(tmp_path):
    with pytest.raises(BadInput) as caught:
        config.load(tmp_path, config.DEFAULTS | {"phases": {"a": ["x", 5]}}, {})
    assert "stack.phases.a" in caught.value.message


def test_load_accepts_port_and_time_as_text(tmp_path):
    loaded = config.load(tmp_path, config.DEFAULTS | {"port": "8000", "stable": "1.5"}, {})
    assert (loaded.port, loaded.stable) == (8000, 1.5)
