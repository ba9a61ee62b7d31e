"""What `--runtime auto` decides from plain facts, and the facts that need no engine."""

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
NO_MANAGER = Unavailable("this engine is no manager of a swarm")
FOREIGN = OutOfReach("these containers belong to the checkout in /elsewhere", "run it there")
NO_IMAGE = "an engine answers, but the image x cannot be had"


def facts(compose=NOTHING, local=NOTHING, swarm=NO_MANAGER, **more):
    presence = {"compose": compose, "local": local, "swarm": swarm}
    return choice.Facts(presence, **{"compose_obstacle": lambda: "", **more})


def chosen(*given, **more):
    found = choice.choose(facts(*given, **more))
    return found.runtime, found.reason


def refusal(*given, kind=OutOfReach, **more):
    with pytest.raises(kind) as caught:
        choice.choose(facts(*given, **more))
    return caught.value.message, caught.value.hint


def unasked():
    raise AssertionError("no image matters where a stack exists")


def test_auto_refuses_two_running_stacks_and_names_both():
    for last_used in ("", "local", "compose"):
        message, hint = refusal(RUNNING, RUNNING, last_used=last_used)
        assert "compose" in message
        assert "local" in message
        assert "--runtime compose" in hint
        assert "inv down --runtime local" in hint
    assert "local and on swarm" in refusal(STOPPED, RUNNING, RUNNING)[0]


@pytest.mark.parametrize("presence", [DATA, STOPPED, RUNNING])
def test_auto_takes_the_runtime_that_was_used_last_if_its_stack_exists(presence):
    more = {"compose_obstacle": unasked}
    assert chosen(presence, DATA, last_used="compose", **more)[0] == "compose"
    assert chosen(STOPPED, presence, last_used="local", **more)[0] == "local"
    assert chosen(STOPPED, DATA, presence, last_used="swarm", **more)[0] == "swarm"


def test_auto_says_that_another_stack_is_up():
    name, reason = chosen(RUNNING, DATA, last_used="local")
    assert name == "local"
    assert reason.endswith("; another one is up on compose")


def test_auto_does_not_mind_a_record_of_a_stack_that_is_gone():
    assert chosen(NOTHING, DATA, last_used="compose")[0] == "local"
    assert chosen(DATA, NOTHING, last_used="local")[0] == "compose"
    assert chosen(NOTHING, NOTHING, NOTHING, last_used="swarm")[0] == "compose"


@pytest.mark.parametrize("local", [NOTHING, DATA, RUNNING])
@pytest.mark.parametrize("can_have_engine", [True, False])
def test_auto_refuses_if_the_engine_that_was_used_last_does_not_answer(local, can_have_engine):
    more = {"last_used": "compose", "can_have_engine": can_have_engine}
    message, hint = refusal(AWAY, local, AWAY, kind=Unavailable, **more)
    assert message == f"this checkout used compose last, and {AWAY.message}"
    assert hint.startswith("start it; ")
    assert hint.endswith("--runtime local")


def test_auto_refuses_if_the_swarm_that_was_used_last_has_no_manager_here():
    message, hint = refusal(NOTHING, last_used="swarm", kind=Unavailable)
    assert message == f"this checkout used swarm last, and {NO_MANAGER.message}"
    assert hint.endswith("--runtime local")


def test_auto_does_not_offer_the_local_runtime_where_there_is_none():
    _, hint = refusal(AWAY, last_used="compose", local_obstacle="on Windows")
    assert hint == "start it"


def test_auto_goes_on_with_a_local_stack_while_the_engine_does_not_answer():
    for last_used in ("local", ""):
        for presence in (RUNNING, DATA):
            name, reason = chosen(AWAY, presence, AWAY, last_used=last_used, is_engine_named=True)
            assert name == "local"
            assert reason.endswith(AWAY.message)
            more = {"last_used": last_used, "can_have_engine": False}
            assert "Docker" not in chosen(AWAY, presence, AWAY, **more)[1]


def test_auto_takes_the_runtime_that_has_most_of_the_project():
    more = {"compose_obstacle": unasked}
    assert chosen(STOPPED, DATA, **more) == ("compose", "its stack is stopped")
    assert chosen(STOPPED, RUNNING, **more) == ("local", "its stack is up")
    assert chosen(DATA, DATA, **more) == ("compose", "it has the data of this project")
    assert chosen(NOTHING, DATA, **more) == ("local", "it has the data of this project")
    assert chosen(DATA, NOTHING, RUNNING, **more) == ("swarm", "its stack is up")
    assert chosen(NOTHING, NOTHING, DATA, **more)[0] == "swarm"


def test_auto_starts_on_compose_if_an_engine_answers_and_the_images_can_be_had():
    assert chosen() == ("compose", "an engine answers and the images are available")


def test_auto_starts_on_local_if_the_images_cannot_be_had():
    assert chosen(compose_obstacle=lambda: NO_IMAGE) == ("local", NO_IMAGE)

    def refuse():
        raise NotHealthy("docker compose config failed: it is broken")

    assert chosen(compose_obstacle=refuse)[0] == "local"
    kind = NotHealthy
    assert "broken" in refusal(compose_obstacle=refuse, local_obstacle="no", kind=kind)[0]


def test_auto_starts_on_local_if_no_engine_answers_and_none_is_named():
    assert chosen(AWAY, NOTHING, AWAY) == ("local", AWAY.message)


def test_auto_refuses_if_the_named_engine_does_not_answer():
    assert refusal(AWAY, NOTHING, AWAY, is_engine_named=True) == (AWAY.message, AWAY.hint)


def test_auto_refuses_in_another_project_if_compose_cannot_be_used():
    other = {"local_obstacle": "another project"}
    assert refusal(AWAY, NOTHING, AWAY, **other) == (AWAY.message, AWAY.hint)
    assert refusal(compose_obstacle=lambda: NO_IMAGE, **other)[0] == NO_IMAGE


def test_auto_never_starts_a_stack_beside_one_that_must_be_left_alone():
    assert refusal(FOREIGN) == (FOREIGN.message, FOREIGN.hint)
    assert refusal(FOREIGN, DATA, last_used="compose") == (FOREIGN.message, FOREIGN.hint)
    assert chosen(FOREIGN, RUNNING)[0] == "local"
    refusal(BadInput("the folder's name cannot be a project's"), kind=BadInput)


# The record


def test_the_record_names_the_runtime_that_was_written_last(tmp_path):
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
def test_the_record_is_ignored_if_it_names_no_runtime(tmp_path, content):
    (tmp_path / record.FILE).write_bytes(content)
    assert record.read(tmp_path) == ""


def test_the_record_is_ignored_if_it_cannot_be_read(tmp_path):
    (tmp_path / record.FILE).mkdir()
    assert record.read(tmp_path) == ""


# Facts


@pytest.fixture
def checkout(tmp_path):
    """A folder that looks like deal-scout, with the record and the lock of another runtime."""
    (tmp_path / "backend").mkdir()
    (tmp_path / "backend" / "entrypoint.sh").touch()
    (tmp_path / "docker-compose.yml").write_text("services: {}\n")
    (tmp_path / ".local").mkdir()
    (tmp_path / ".local" / "lock").touch()
    record.write(tmp_path / ".local", "compose")
    return tmp_path


@pytest.fixture
def no_engine(monkeypatch, tmp_path):
    """A machine without any sign of an engine."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setattr(engine, "SOCKET", tmp_path / "docker.sock")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no local runtime")
@pytest.mark.parametrize("data", ["stack.json", "postgres"])
def test_local_has_data_only_if_the_folder_holds_some(checkout, data):
    local = LocalRuntime(config.load(checkout, config.DEFAULTS, {}, profile=PROFILE))
    assert local.presence() is NOTHING
    (checkout / ".local" / data).mkdir()
    assert local.presence() is DATA


@pytest.mark.skipif(sys.platform == "win32", reason="it is not known there without asking")
def test_an_engine_can_exist_only_if_something_points_at_one(no_engine, monkeypatch, tmp_path):
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
    monkeypatch.setattr(engine, "load", unasked)
    said = []
    picked = select.select_runtime(
        config.load(checkout, config.DEFAULTS, {}, profile=PROFILE), said.append
    )
    assert picked.name == "local"
    reason = (
        "does not answer: its socket does not exist" if program == "docker" else "is not installed"
    )
    assert said == [f"runtime: local (Docker {reason})"]


@pytest.mark.skipif(sys.platform == "win32", reason="it is not known there without asking")
def test_a_recorded_engine_that_cannot_exist_is_the_one_to_examine(no_engine, checkout):
    configured = config.load(checkout, config.DEFAULTS, {}, profile=PROFILE)
    with pytest.raises(Unavailable) as caught:
        select.select_runtime(configured, lambda _: None)
    assert "used compose last" in caught.value.message
    assert select.select_for_doctor(configured).name == "compose"
