#!/bin/sh
# Makes both locks anew from pyproject.toml, with hashes, for every platform. Needs `uv`.
set -eu
cd "$(dirname "$0")/.."
lock="uv pip compile --quiet --universal --generate-hashes --only-binary :all: --python-version 3.11
  --no-emit-index-url --no-emit-find-links --custom-compile-command scripts/lock.sh"
# shellcheck disable=SC2086  # the words of $lock are meant to be split
$lock --all-extras --group backend pyproject.toml -o requirements.lock "$@"
# The image gets the same versions, and only what the backend needs.
# shellcheck disable=SC2086
$lock --group backend --constraint requirements.lock -o backend/requirements.lock "$@"
