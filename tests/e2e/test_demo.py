"""`make demo` works again and again: beside what it left, after Ctrl-C, and over an earlier build."""

import os
import shutil
import signal
import subprocess

import pytest
from windlass import ROOT

# What is said just before something is half done.
INTERRUPTED = ["== Start Windlass", "images load", "$ windlass wait", "$ curl", "== Batch tasks"]


@pytest.mark.timeout(600)
def test_the_demo_runs_any_number_of_times(executable, tmp_path):
    data = tmp_path / "data"
    exe = tmp_path / "windlass"
    shutil.copy2(executable, exe)
    # A shell's session of its own, so that Ctrl-C reaches the demo and nobody else.
    settings = {
        "env": {n: v for n, v in os.environ.items() if not n.startswith("AWS_")}
        | {"WINDLASS_DEMO_DATA": str(data)},
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "text": True,
        "start_new_session": True,
    }
    demo = [ROOT / "scripts/demo.sh", exe]

    def run():
        done = subprocess.run(demo, timeout=200, **settings)
        assert done.returncode == 0, done.stdout[-3000:]
        assert "Try next:" in done.stdout
        return done.stdout

    def interrupt(at):
        process = subprocess.Popen(demo, **settings)
        said = ""
        while at not in said:
            line = process.stdout.readline()
            assert line, said[-3000:]
            said += line
        os.killpg(process.pid, signal.SIGINT)
        said += process.communicate(timeout=60)[0]
        assert process.returncode == 130, said[-3000:]
        assert f"down --data {data}" in said

    try:
        for at in INTERRUPTED:
            interrupt(at)
        run()
        # Its web server serves; a second run takes its place.
        run()
        newer = tmp_path / "windlass.new"
        newer.write_bytes(exe.read_bytes() + b"a newer build")
        newer.chmod(0o755)
        newer.rename(exe)
        assert "An earlier build serves" in run()
    finally:
        subprocess.run([exe, "down", "--data", data], timeout=120, capture_output=True)
