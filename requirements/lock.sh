#!/usr/bin/env bash
# Resolves pyproject.toml into the two locks; run it as `make lock`. Needs uv (pip install uv).
set -euo pipefail
cd "$(dirname "$0")/.."
compile=(uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-header --no-annotate
  --override requirements/overrides.txt --constraint requirements/constraints.txt
  --no-emit-package torch --no-emit-package torchvision --no-emit-package torchaudio --no-emit-package torchcodec)
"${compile[@]}" pyproject.toml --extra dev --extra deepspeed --extra lora --extra slurm --extra bench --extra tracking --extra liger --extra judges --extra merge --extra embeddings --extra report requirements/test.in --output-file requirements/test.txt
"${compile[@]}" pyproject.toml --constraint requirements/test.txt --output-file requirements/demo.txt
