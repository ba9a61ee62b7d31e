"""The choice of `--runtime auto` from given facts, and the facts that need no engine."""

import json
import sys

import pytest

from deal_scout_profile import PROFILE
from invoke_stack import config
from invoke_stack.errors import BadInput, NotHealthy, OutOfReach, Unavailable
from invoke_stack.model import Presence
from invoke_stack.runtimes import choice, record, select
from invoke_stack.runtimes.docker import engine
from invoke_stack.runtimes.local.runtime import LocalRuntime

NOTHING, DATA, STOPPED, RUNNING = Presence
AWAY = Unavailable("Docker does not answer: no answer in time", "start it")
NO_MANAGER = Unavailable("this engine is not a swarm manager")
FOREIGN = OutOfReach("these containers belong to the checkout in /elsewhere", "run it there")
NO_IMAGE = "Docker is running, but the image x cannot be pulled"


def facts(compose=NOTHING, local=NOTHING, swarm=NO_MANAGER, **more):
    presence = {"compose": compose, "local": local, "swarm": swarm}
    return choice.ChoiceFacts(presence, **{"compose_obstacle": lambda: "", **more})


def choose(*presences, **more):
    chosen = choice.choose(facts(*presences, **more))
    return chosen.runtime, chosen.reason


def refusal(*presences, error=OutOfReach, **more):
    with pytest.raises(error) as raised:
        choice.choose(facts(*presences, **more))
    return raised.value.message, raised.value.hint


def not_called():
    raise AssertionError("this is not needed for the choice")


def test_auto_refuses_two_running_stacks():
    for last_used in ("", "local", "compose"):
        message, hint = refusal(RUNNING, RUNNING, last_used=last_used)
        assert "compose" in message
        assert "local" in message
        assert "--runtime compose" in hint
        assert "inv down --runtime local" in hint
    assert "local and on swarm" in refusal(STOPPED, RUNNING, RUNNING)[0]


@pytest.mark.parametrize("presence", [DATA, STOPPED, RUNNING])
def test_auto_chooses_the_last_used_runtime_if_its_stack_exists(presence):
    more = {"compose_obstacle": not_called}
    assert choose(presence, DATA, last_used="compose", **more)[0] == "compose"
    assert choose(STOPPED, presence, last_used="local", **more)[0] == "local"
    assert choose(STOPPED, DATA, presence, last_used="swarm", **more)[0] == "swarm"


def test_auto_reports_another_running_stack():
    name, reason = choose(RUNNING, DATA, last_used="local")
    assert name == "local"
    assert reason.endswith("; another one is up on compose")


def test_auto_ignores_the_last_used_runtime_if_its_stack_is_gone():
    assert choose(NOTHING, DATA, last_used="compose")[0] == "local"
    assert choose(DATA, NOTHING, last_used="local")[0] == "compose"
    assert choose(NOTHING, NOTHING, NOTHING, last_used="swarm")[0] == "compose"


@pytest.mark.parametrize("local", [NOTHING, DATA, RUNNING])
@pytest.mark.parametrize("can_have_engine", [True, False])
def test_auto_refuses_if_the_last_used_engine_does_not_answer(local, can_have_engine):
    more = {"last_used": "compose", "can_have_engine": can_have_engine}
    message, hint = refusal(AWAY, local, AWAY, error=Unavailable, **more)
    assert message == f"this checkout used compose last, and {AWAY.message}"
    assert hint.startswith("start it; ")
    assert hint.endswith("--runtime local")


def test_auto_refuses_if_the_last_used_swarm_has_no_manager_here():
    message, hint = refusal(NOTHING, last_used="swarm", error=Unavailable)
    assert message == f"this checkout used swarm last, and {NO_MANAGER.message}"
    assert hint.endswith("--runtime local")


def test_auto_does_not_suggest_local_if_it_is_not_available():
    _, hint = refusal(AWAY, last_used="compose", local_obstacle="on Windows")
    assert hint == "start it"


def test_auto_chooses_an_existing_local_stack_if_the_engine_does_not_answer():
    for last_used in ("local", ""):
        for presence in (RUNNING, DATA):
            name, reason = choose(AWAY, presence, AWAY, last_used=last_used, is_engine_named=True)
            assert name == "local"
            assert reason.endswith(AWAY.message)
            more = {"last_used": last_used, "can_have_engine": False}
            assert "Docker" not in choose(AWAY, presence, AWAY, **more)[1]


def test_auto_chooses_the_runtime_with_most_of_the_project():
    more = {"compose_obstacle": not_called}
    assert choose(STOPPED, DATA, **more) == ("compose", "its stack is stopped")
    assert choose(STOPPED, RUNNING, **more) == ("local", "its stack is up")
    assert choose(DATA, DATA, **more) == ("compose", "it has the data of this project")
    assert choose(NOTHING, DATA, **more) == ("local", "it has the data of this project")
    assert choose(DATA, NOTHING, RUNNING, **more) == ("swarm", "its stack is up")
    assert choose(NOTHING, NOTHING, DATA, **more)[0] == "swarm"


def test_auto_starts_on_compose_if_the_images_are_available():
    assert choose() == ("compose", "an engine answers and the images are available")


def test_auto_starts_on_local_if_an_image_is_not_available():
    assert choose(compose_obstacle=lambda: NO_IMAGE) == ("local", NO_IMAGE)

    def refuse():
        raise NotHealthy("docker compose config failed: it is broken")

    assert choose(compose_obstacle=refuse)[0] == "local"
    message, _ = refusal(compose_obstacle=refuse, local_obstacle="no", error=NotHealthy)
    assert "broken" in message


def test_auto_starts_on_local_if_no_engine_answers():
    assert choose(AWAY, NOTHING, AWAY) == ("local", AWAY.message)


def test_auto_refuses_if_the_named_engine_does_not_answer():
    assert refusal(AWAY, NOTHING, AWAY, is_engine_named=True) == (AWAY.message, AWAY.hint)


def test_auto_refuses_if_neither_compose_nor_local_can_be_used():
    no_local = {"local_obstacle": "another project"}
    assert refusal(AWAY, NOTHING, AWAY, **no_local) == (AWAY.message, AWAY.hint)
    assert refusal(compose_obstacle=lambda: NO_IMAGE, **no_local)[0] == NO_IMAGE


def test_auto_refuses_to_start_beside_a_stack_of_another_checkout():
    assert refusal(FOREIGN) == (FOREIGN.message, FOREIGN.hint)
    assert refusal(FOREIGN, DATA, last_used="compose") == (FOREIGN.message, FOREIGN.hint)
    assert choose(FOREIGN, RUNNING)[0] == "local"
    refusal(BadInput("the folder's name cannot be a project's"), error=BadInput)


# The record of the last runtime


def test_record_keeps_the_last_runtime_until_it_is_removed(tmp_path):
    assert record.read(tmp_path / "nowhere") == record.read(tmp_path) == ""
    for runtime in ("compose", "local", "swarm"):
        record.write(tmp_path, runtime)
        assert record.read(tmp_path) == runtime
    record.remove(tmp_path, "local")
    assert record.read(tmp_path) == "swarm"
    record.remove(tmp_path, "swarm")
    record.remove(tmp_path, "swarm")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"auto\n", b"kubernetes", b"\xff\xfe", b"local\nlocal"])
def test_record_is_ignored_if_it_names_no_runtime(tmp_path, content):
    (tmp_path / record.FILE).write_bytes(content)
    assert record.read(tmp_path) == ""


def test_record_is_ignored_if_it_cannot_be_read(tmp_path):
    (tmp_path / record.FILE).mkdir()
    assert record.read(tmp_path) == ""


# Facts


@pytest.fixture
def checkout(tmp_path):
    """Create a minimal deal-scout checkout that used compose last."""
    (tmp_path / "backend").mkdir()
    (tmp_path / "backend" / "entrypoint.sh").touch()
    (tmp_path / "docker-compose.yml").write_text("services: {}\n")
    (tmp_path / ".local").mkdir()
    (tmp_path / ".local" / "lock").touch()
    record.write(tmp_path / ".local", "compose")
    return tmp_path


@pytest.fixture
def no_engine(monkeypatch, tmp_path):
    """Simulate a machine on which nothing points to an engine."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setattr(engine, "SOCKET", tmp_path / "docker.sock")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no local runtime")
@pytest.mark.parametrize("data", ["stack.json", "postgres"])
def test_local_presence_ignores_a_folder_without_data(checkout, data):
    local = LocalRuntime(config.load(checkout, config.DEFAULTS, {}, profile=PROFILE))
    assert local.presence() is NOTHING
    (checkout / ".local" / data).mkdir()
    assert local.presence() is DATA


@pytest.mark.skipif(sys.platform == "win32", reason="needs a connection attempt on Windows")
def test_engine_can_exist_only_if_something_points_to_one(no_engine, monkeypatch, tmp_path):
    assert not engine.can_exist({})
    assert engine.can_exist({"DOCKER_HOST": "tcp://engine:2375"})
    assert engine.can_exist({"DOCKER_CONTEXT": "remote"})
    file = tmp_path / "docker" / "config.json"
    file.parent.mkdir()
    for text, expected in (
        ("{", False),
        ("[]", False),
        ("{}", False),
        (json.dumps({"currentContext": "default"}), False),
        (json.dumps({"currentContext": "remote"}), True),
    ):
        file.write_text(text)
        assert engine.can_exist({"DOCKER_CONFIG": str(file.parent)}) is expected
    (tmp_path / "docker.sock").touch()
    assert engine.can_exist({})


@pytest.mark.skipif(sys.platform == "win32", reason="there is no local runtime")
@pytest.mark.parametrize("program", ["docker", "another"])
def test_auto_starts_on_local_if_no_engine_can_exist(
    no_engine, checkout, monkeypatch, tmp_path, program
):
    record.remove(checkout / ".local", "compose")
    (tmp_path / program).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(engine, "load", not_called)
    notices = []
    runtime = select.select_runtime(
        config.load(checkout, config.DEFAULTS, {}, profile=PROFILE), notices.append
    )
    assert runtime.name == "local"
    reason = (
        "does not answer: its socket does not exist" if program == "docker" else "is not installed"
    )
    assert notices == [f"runtime: local (Docker {reason})"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a connection attempt on Windows")
def test_doctor_examines_the_recorded_runtime_if_its_engine_cannot_exist(no_engine, checkout):
    settings = config.load(checkout, config.DEFAULTS, {}, profile=PROFILE)
    with pytest.raises(Unavailable) as raised:
        select.select_runtime(settings, lambda _: None)
    assert "used compose last" in raised.value.message
    assert select.select_for_doctor(settings).name == "compose"
