#!/bin/sh
# Makes the locks anew from pyproject.toml, with hashes, for every platform. Needs `uv`.
set -eu
cd "$(dirname "$0")/.."
lock="uv pip compile --quiet --universal --generate-hashes --only-binary :all: --python-version 3.11
  --no-emit-index-url --no-emit-find-links --custom-compile-command scripts/lock.sh"
# shellcheck disable=SC2086  # the words of $lock are meant to be split
$lock --extra local --group backend pyproject.toml -o requirements.lock "$@"
# Tests and lint get the same versions, and their own tools.
# shellcheck disable=SC2086
$lock --all-extras --group backend --constraint requirements.lock pyproject.toml -o requirements-dev.lock "$@"
# The image gets the same versions, and only what the backend needs.
# shellcheck disable=SC2086
$lock --group backend --constraint requirements.lock -o backend/requirements.lock "$@"
