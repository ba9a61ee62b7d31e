"""Owner of a project: the folder as the shell names it, derived names, moved checkouts."""

import os
from pathlib import Path

import pytest

from invoke_stack.runtimes.docker import ownership
from invoke_stack.runtimes.docker.project import derived_name, explicit_name, project_folder


@pytest.fixture
def link(tmp_path, monkeypatch):
    """Yield a symbolic link to a checkout, which is the working directory."""
    checkout = tmp_path / "releases" / "42"
    (checkout / "backend").mkdir(parents=True)
    path = tmp_path / "current"
    path.symlink_to(checkout)
    monkeypatch.chdir(checkout)
    return path


def test_root_keeps_the_symbolic_link_of_the_shell(link):
    assert ownership.unresolved_root(link.resolve(), {"PWD": str(link)}) == link


def test_root_keeps_the_symbolic_link_in_a_subfolder(link, monkeypatch):
    monkeypatch.chdir(link / "backend")
    assert ownership.unresolved_root(link.resolve(), {"PWD": str(link / "backend")}) == link


@pytest.mark.parametrize("pwd", [None, "", "current", "/", "/nowhere"])
def test_root_ignores_a_pwd_that_is_not_the_working_directory(link, pwd):
    root = link.resolve()
    assert ownership.unresolved_root(root, {} if pwd is None else {"PWD": pwd}) == root


def test_root_ignores_a_stale_pwd(link, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    assert ownership.unresolved_root(link.resolve(), {"PWD": str(tmp_path / "elsewhere")}) == (
        link.resolve()
    )


def test_folders_are_same_by_path_or_target(link, tmp_path):
    missing = tmp_path / "gone"
    assert ownership.is_same_folder(link, link.resolve())
    assert ownership.is_same_folder(missing, missing)
    assert not ownership.is_same_folder(missing, link)


def test_other_folders_omits_own_and_unknown(link, tmp_path):
    folders = [str(link), str(link.resolve()), "", str(tmp_path), str(tmp_path)]
    assert ownership.other_folders(folders, link) == [str(tmp_path)]


def test_other_checkout_error_names_the_checkout_and_a_free_name(tmp_path):
    error = ownership.other_checkout_error("shop", ["/gone", str(tmp_path)], is_engine_here=True)
    assert error.message == f"the project 'shop' belongs to another checkout: {tmp_path}"
    assert error.hint.endswith("in .env: COMPOSE_PROJECT_NAME=shop-2")


def test_other_checkout_error_recognises_a_moved_checkout():
    error = ownership.other_checkout_error("shop", ["/gone/shop"], is_engine_here=True)
    assert "started in /gone/shop, which no longer exists: this checkout was moved" in error.message
    assert error.hint.endswith("to .env: COMPOSE_PROJECT_NAME=shop")


def test_other_checkout_error_ignores_missing_folders_of_another_machine():
    error = ownership.other_checkout_error("shop", ["/gone/shop"], is_engine_here=False)
    assert error.message == "the project 'shop' belongs to another checkout: /gone/shop"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read every folder")
def test_other_checkout_error_treats_an_unreadable_folder_as_existing(tmp_path):
    unreadable = tmp_path / "home"
    unreadable.mkdir(mode=0)
    error = ownership.other_checkout_error("shop", [str(unreadable / "shop")], is_engine_here=True)
    assert "another checkout" in error.message


def test_start_is_recorded_for_name_and_folder(tmp_path):
    record = tmp_path / ".local" / "record"
    assert not ownership.has_started(record, "shop", tmp_path)
    ownership.record_start(record, "shop", tmp_path)
    assert ownership.has_started(record, "shop", tmp_path)
    assert not ownership.has_started(record, "shop", tmp_path / "copy")
    assert not ownership.has_started(record, "other", tmp_path)


@pytest.mark.parametrize(
    ("environ", "text", "folder", "name"),
    [
        ({}, "services: {}\n", "My.Shop", "myshop"),
        ({}, "", "My Shop", "myshop"),
        ({}, "", "_-x.y", "xy"),
        ({}, "name: other\n", "My.Shop", "other"),
        ({"COMPOSE_PROJECT_NAME": "mine"}, "name: other\n", "My.Shop", "mine"),
        ({"COMPOSE_FILE": "deploy/compose.yaml"}, "", "My.Shop/deploy", "deploy"),
    ],
)
def test_project_name_and_folder_match_compose(tmp_path, environ, text, folder, name):
    root = tmp_path / folder.partition("/")[0]
    (root / "deploy").mkdir(parents=True)
    (root / "compose.yaml").write_text(text, "utf-8")
    folder_of_project = project_folder(root, environ)
    assert folder_of_project == tmp_path / Path(folder)
    assert (explicit_name(root, environ) or derived_name(folder_of_project)) == name


def test_project_name_comes_from_the_env_file(tmp_path):
    (tmp_path / ".env").write_text("COMPOSE_PROJECT_NAME=mine\n", "utf-8")
    assert explicit_name(tmp_path, {}) == "mine"
