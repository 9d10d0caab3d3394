"""The AWS SDK for Rust, unmodified: `tests/sdk` built beside the executable under test."""

import os
import subprocess

import pytest


def test_the_sdk_for_rust_is_served(windlass):
    program = os.environ.get("WINDLASS_SDK_CHECK")
    if not program:
        pytest.skip("WINDLASS_SDK_CHECK names no program: scripts/test.sh builds it")
    done = subprocess.run(
        [program, windlass.url, windlass.region],
        env=windlass.environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is served" in done.stdout
