#!/bin/sh
# Regenerates the locks from pyproject.toml, with hashes, for every platform. Needs `uv`.
set -eu
cd "$(dirname "$0")/.."
lock="uv pip compile --quiet --universal --generate-hashes --only-binary :all: --python-version 3.11
  --no-emit-index-url --no-emit-find-links --custom-compile-command scripts/lock.sh"
# shellcheck disable=SC2086  # $lock must be split into arguments
$lock --extra local --group backend pyproject.toml -o requirements.lock "$@"
# Tests and lint: the same versions, plus their own tools.
# shellcheck disable=SC2086
$lock --all-extras --group backend --constraint requirements.lock pyproject.toml -o requirements-dev.lock "$@"
# The image: the same versions, but only what the backend needs.
# shellcheck disable=SC2086
$lock --group backend --constraint requirements.lock -o backend/requirements.lock "$@"
