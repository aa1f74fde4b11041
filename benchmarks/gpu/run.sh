#!/usr/bin/env bash
# What sftlens does on one GPU: correctness against the CPU, speed at LLaMA-3-8B's geometry, where the time goes.
#
#   benchmarks/gpu/run.sh                                  # every section, at most 8 minutes on an H100
#   benchmarks/gpu/run.sh --sections correctness decode    # some of them
#   benchmarks/gpu/run.sh --tiny                           # a small geometry, on the CPU where there is no GPU
#
# Needs PyTorch, transformers and what the sources import (pydantic, pandas, pyarrow); DeepSpeed and peft where there.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$here/../../src:$here${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-4}
exec "${PYTHON:-python3}" "$here/run.py" "$@"
