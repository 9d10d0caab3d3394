#!/usr/bin/env bash
# The product's tests from the outside: unmodified boto3 and `aws` against the executable.
#
#   scripts/e2e.sh EXECUTABLE [PYTEST ARGUMENTS...]
#
# Needs root. Builds nothing; makes .venv and the sample images when they are missing. Every test
# process starts installations of its own, so it may run beside other installations.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ $# -ge 1 ] || { echo "usage: scripts/e2e.sh EXECUTABLE [PYTEST ARGUMENTS...]" >&2; exit 2; }
[ -x "$1" ] || { echo "e2e: $1 is no executable" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "e2e: must run as root, because the containers are real" >&2; exit 2; }
WINDLASS=$(realpath "$1")
export WINDLASS PYTHONDONTWRITEBYTECODE=1
shift
"$here/scripts/botocore.sh" >/dev/null
"$here/scripts/sample-images.sh" >/dev/null 2>&1 || "$here/scripts/sample-images.sh"
cd "$here/tests/e2e"
exec "$here/.venv/bin/python3" -m pytest -n "${E2E_PROCESSES:-2}" "$@"
