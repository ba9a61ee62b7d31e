"""Orphaned containers, and the volumes that `docker compose down --volumes` deletes."""

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
    ("candidate", "is_orphan"),
    [
        (container("db"), False),
        (container("db", "exited"), False),
        (container("old"), True),
        (container("old", "exited"), True),
        (container("db", "running", "True"), False),
        (container("db", "exited", "True"), True),
    ],
)
def test_container_is_orphan_if_no_service_declares_it(candidate, is_orphan):
    assert compose_labels.is_orphan(candidate, {"db": {}}) is is_orphan


def volume(name, project="", key=""):
    labels = {f"{LABEL}.project": project, f"{LABEL}.volume": key} if project else None
    return {"Name": name, "Labels": labels}


@pytest.mark.parametrize(
    ("candidate", "is_declared"),
    [
        (volume("shop_data", "shop", "data"), True),
        (volume("shop_data"), True),
        (volume("cache-test", "shop", "cache"), True),
        (volume("cache-test", "other", "cache"), False),
        (volume("shop_former", "shop", "former"), False),
        (volume("shared"), False),
    ],
)
def test_volume_is_declared_if_the_compose_files_name_it(candidate, is_declared):
    assert compose_labels.is_declared(candidate, "shop", DECLARED) is is_declared


def test_anonymous_volumes_are_listed_with_their_service():
    mounts = [
        {"Type": "volume", "Name": "0123456789ab" + "0" * 52},
        {"Type": "volume", "Name": "shop_data"},
        {"Type": "bind", "Source": "/etc"},
    ]
    volumes = list(compose_labels.anonymous_volumes([container("db", mounts=mounts)]))
    assert volumes == ["0123456789ab (of db)"]
