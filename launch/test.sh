#!/usr/bin/env bash
# All tests; further flags go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh
environment requirements.txt requirements-dev.txt
python -m pytest --numprocesses 2 --dist loadgroup "$@"
