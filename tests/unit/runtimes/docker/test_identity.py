"""Whose project it is: the folder as the shell knows it, derived names, moved checkouts."""

import os
from pathlib import Path

import pytest

from invoke_stack.runtimes.docker import identity
from invoke_stack.runtimes.docker.project import derived_name, explicit_name, project_folder


@pytest.fixture
def link(tmp_path, monkeypatch):
    """A link to a checkout with a subfolder; the working directory is the checkout."""
    checkout = tmp_path / "releases" / "42"
    (checkout / "backend").mkdir(parents=True)
    path = tmp_path / "current"
    path.symlink_to(checkout)
    monkeypatch.chdir(checkout)
    return path


def test_root_keeps_the_link_that_the_shell_came_by(link):
    assert identity.unresolved(link.resolve(), {"PWD": str(link)}) == link


def test_root_keeps_the_link_in_a_subfolder(link, monkeypatch):
    monkeypatch.chdir(link / "backend")
    assert identity.unresolved(link.resolve(), {"PWD": str(link / "backend")}) == link


@pytest.mark.parametrize("pwd", [None, "", "current", "/", "/nowhere"])
def test_root_ignores_a_pwd_that_is_not_the_working_directory(link, pwd):
    root = link.resolve()
    assert identity.unresolved(root, {} if pwd is None else {"PWD": pwd}) == root


def test_root_ignores_a_pwd_of_before_a_change_of_directory(link, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    assert identity.unresolved(link.resolve(), {"PWD": str(tmp_path / "elsewhere")}) == (
        link.resolve()
    )


def test_folders_are_the_same_by_their_path_or_where_it_leads(link, tmp_path):
    gone = tmp_path / "gone"
    assert identity.is_same_folder(link, link.resolve())
    assert identity.is_same_folder(gone, gone)
    assert not identity.is_same_folder(gone, link)


def test_other_folders_leaves_out_its_own_and_the_unknown(link, tmp_path):
    folders = [str(link), str(link.resolve()), "", str(tmp_path), str(tmp_path)]
    assert identity.other_folders(folders, link) == [str(tmp_path)]


def test_refusal_names_the_other_checkout_and_another_name(tmp_path):
    error = identity.refusal("shop", ["/gone", str(tmp_path)], is_engine_here=True)
    assert error.message == f"the project 'shop' belongs to another checkout: {tmp_path}"
    assert error.hint.endswith("in .env: COMPOSE_PROJECT_NAME=shop-2")


def test_refusal_says_that_a_checkout_was_moved():
    error = identity.refusal("shop", ["/gone/shop"], is_engine_here=True)
    assert "started in /gone/shop, which no longer exists: this checkout was moved" in error.message
    assert error.hint.endswith("to .env: COMPOSE_PROJECT_NAME=shop")


def test_refusal_cannot_know_whether_a_folder_of_another_machine_exists():
    error = identity.refusal("shop", ["/gone/shop"], is_engine_here=False)
    assert error.message == "the project 'shop' belongs to another checkout: /gone/shop"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read every folder")
def test_refusal_takes_a_closed_folder_for_existing(tmp_path):
    closed = tmp_path / "home"
    closed.mkdir(mode=0)
    error = identity.refusal("shop", [str(closed / "shop")], is_engine_here=True)
    assert "another checkout" in error.message


def test_a_start_is_noted_for_its_name_and_folder(tmp_path):
    record = tmp_path / ".local" / "record"
    assert not identity.is_started_by(record, "shop", tmp_path)
    identity.note_start(record, "shop", tmp_path)
    assert identity.is_started_by(record, "shop", tmp_path)
    assert not identity.is_started_by(record, "shop", tmp_path / "copy")
    assert not identity.is_started_by(record, "other", tmp_path)


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
def test_project_is_named_as_compose_names_it(tmp_path, environ, text, folder, name):
    root = tmp_path / folder.partition("/")[0]
    (root / "deploy").mkdir(parents=True)
    (root / "compose.yaml").write_text(text, "utf-8")
    found = project_folder(root, environ)
    assert found == tmp_path / Path(folder)
    assert (explicit_name(root, environ) or derived_name(found)) == name


def test_project_name_may_come_from_the_env_file(tmp_path):
    (tmp_path / ".env").write_text("COMPOSE_PROJECT_NAME=mine\n", "utf-8")
    assert explicit_name(tmp_path, {}) == "mine"
