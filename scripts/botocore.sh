#!/bin/sh
# Makes .venv with the pinned AWS clients (botocore, boto3, awscli) and prints the path of botocore's
# ECS service model. Installing is skipped when the pins have not changed since the last run.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
pins="$root/scripts/botocore.txt"
venv="$root/.venv"
stamp="$venv/botocore.txt"

if ! cmp -s "$pins" "$stamp"; then
    # From scratch: a run that was cut off leaves a half-made one.
    python3 -m venv --clear "$venv" >&2
    "$venv/bin/python3" -m pip install --quiet --disable-pip-version-check --requirement "$pins" >&2
    cp "$pins" "$stamp"
fi

"$venv/bin/python3" - <<'PYTHON'
import os, botocore
print(os.path.join(os.path.dirname(botocore.__file__), "data/ecs/2014-11-13/service-2.json.gz"))
PYTHON
