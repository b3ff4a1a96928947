#!/usr/bin/env bash
# Formats the C++ and Python sources; `tools/format.sh --check` only compares and fails where they differ.
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t cpp < <(git ls-files 'csrc/*.h' 'csrc/*.cpp' 'tests/cpp/*.h' 'tests/cpp/*.cpp' 'cuda/*.h' 'cuda/*.cpp' 'cuda/*.cuh' \
  'cuda/*.cu' 'tests/cuda/*.h' 'tests/cuda/*.cuh' 'tests/cuda/*.cu')
if [ "${1:-}" = --check ]; then
  clang-format --dry-run -Werror "${cpp[@]}"
  ruff format --check .
else
  clang-format -i "${cpp[@]}"
  ruff check --fix-only --quiet .
  ruff format .
fi
