"""Which containers are orphans, and which volumes `docker compose down --volumes` deletes."""

import pytest

from invoke_stack.runtimes.docker import compose_labels

LABEL = compose_labels.LABEL
DECLARED = {
    "data": {"name": "shop_data"},
    "cache": {"name": "cache-${STAGE}"},
    "shared": {"name": "shared", "external": True},
}


def container(service, state="running", oneoff="False", mounts=()):
    labels = {f"{LABEL}.service": service, f"{LABEL}.oneoff": oneoff}
    return {"Labels": labels, "State": state, "Mounts": mounts}


@pytest.mark.parametrize(
    ("given", "is_orphan"),
    [
        (container("db"), False),
        (container("db", "exited"), False),
        (container("old"), True),
        (container("old", "exited"), True),
        (container("db", "running", "True"), False),
        (container("db", "exited", "True"), True),
    ],
)
def test_orphans_are_what_no_service_describes(given, is_orphan):
    assert compose_labels.is_orphan(given, {"db": {}}) is is_orphan


def volume(name, project="", key=""):
    labels = {f"{LABEL}.project": project, f"{LABEL}.volume": key} if project else None
    return {"Name": name, "Labels": labels}


@pytest.mark.parametrize(
    ("given", "is_declared"),
    [
        (volume("shop_data", "shop", "data"), True),
        (volume("shop_data"), True),
        (volume("cache-test", "shop", "cache"), True),
        (volume("cache-test", "other", "cache"), False),
        (volume("shop_former", "shop", "former"), False),
        (volume("shared"), False),
    ],
)
def test_volumes_that_compose_deletes_are_those_of_its_files(given, is_declared):
    assert compose_labels.is_declared(given, "shop", DECLARED) is is_declared


def test_anonymous_volumes_are_named_by_their_service():
    mounts = [
        {"Type": "volume", "Name": "0123456789ab" + "0" * 52},
        {"Type": "volume", "Name": "shop_data"},
        {"Type": "bind", "Source": "/etc"},
    ]
    found = list(compose_labels.anonymous_volumes([container("db", mounts=mounts)]))
    assert found == ["0123456789ab (of db)"]
