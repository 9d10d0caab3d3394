"""`windlass logs`."""

import json
import re
import subprocess

from cli import end_of, terminal
from windlass import Tasks, busybox, wait_until


def test_logs(cli, web):
    assert sorted(cli("logs", web).splitlines()) == ["side | beside", "web | ready"]
    assert cli("logs", web[:8], "web") == "ready\n"
    (record,) = map(json.loads, cli("logs", web, "side", "-o", "json").splitlines())
    assert (record["container"], record["stream"], record["text"]) == ("side", "stdout", "beside")
    stamped = cli("logs", web, "web", "--timestamps")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z ready\n", stamped)
    assert cli("logs", web, "web", "--tail", 0) == ""
    said = cli("logs", web, "nothing", code=3)
    assert "web, side" in said.err


def test_logs_of_a_stream_and_since_a_time(cli, tasks):
    script = "echo old; sleep 1.5; echo new; echo wrong >&2; exit 0"
    task = tasks.start(busybox(script, memory=8))
    tasks.stopped(task)
    said = cli("logs", task)
    assert said == "old\nnew\n" and said.err == "wrong\n"
    assert cli("logs", task, "--stream", "stdout").err == ""
    only = cli("logs", task, "--stream", "stderr")
    assert only == "" and only.err == "wrong\n"
    records = [json.loads(line) for line in cli("logs", task, "-o", "json").splitlines()]
    at = {record["text"]: record["timestamp"] for record in records}
    assert cli("logs", task, "--since", at["new"]) == "new\n"
    assert cli("logs", task, "--since", at["new"][:19]) == "new\n"
    assert cli("logs", task, "--since", at["new"], "--tail", 1).err == "wrong\n"
    assert cli("logs", task, "--since", "1h") == "old\nnew\n"
    assert cli("logs", task, "--since", "2100-01-01") == ""
    assert cli("logs", "-f", task, "--since", at["new"]) == "new\n"
    assert "10m" in cli("logs", task, "--since", "soon", code=64).err


def test_colours_of_logs_pass_on_a_terminal(cli, tasks):
    script = r"printf '\033[31mred\033[0m \033[2Jkept\r\n'"
    task = tasks.start(busybox(script, memory=8))
    tasks.stopped(task)
    assert "\x1b[2J" in cli("logs", task), "a pipe gets what was written"
    with terminal(cli.command("logs", task), cli.environment()) as screen:
        wait_until(lambda: "<ended" in screen(), "the log")
        assert r"red \x1b[2Jkept" in screen() and "\x1b[31mred" in screen(colours=True)


def test_logs_are_followed_to_the_end(cli, tasks):
    script = "echo one; echo two; until [ -e /tmp/go ]; do sleep 0.05; done; echo three"
    gate = [{"sourceVolume": "gate", "containerPath": "/tmp"}]
    volumes = [{"name": "gate", "host": {"sourcePath": str(cli.folder)}}]
    task = tasks.start(busybox(script, mountPoints=gate), volumes=volumes)
    tasks.running(task)
    wait_until(lambda: "two" in cli("logs", task), "its words")
    process = cli.begin("logs", "-f", "--tail", "1", task)
    assert process.stdout.readline() == b"two\n"
    (cli.folder / "go").touch()
    assert end_of(process, 0)[0] == "three\n"
    assert cli("logs", task, "--tail", 2) == "two\nthree\n"


def test_logs_of_any_length_take_little_memory(own, own_cli):
    """The last lines are found from the end, and what is long is passed on in pieces."""
    cli, tasks = own_cli, Tasks(own)
    task = tasks.start(busybox("echo begin"))
    tasks.stopped(task)
    path = own.data / "logs" / task.rsplit("/", 1)[-1] / "main"
    count, text = 12_000, "x" * 8_000
    with open(path, "a") as log:
        for n in range(count):
            log.write(f"2030-01-01T00:00:00.{n:09}Z stdout F {n} {text}\n")
    pid = own.process.pid
    size = path.stat().st_size
    assert size > 90e6

    def number(file, name):
        return int(re.search(rf"^{name}:\s*(\d+)", open(f"/proc/{pid}/{file}").read(), re.M)[1])

    before = number("io", "rchar")
    assert cli("logs", task, "--tail", 1) == f"{count - 1} {text}\n"
    assert number("io", "rchar") - before < 4e6
    # From here on the highest use of memory is counted afresh.
    with open(f"/proc/{pid}/clear_refs", "w") as clear:
        clear.write("5")
    before = number("status", "VmHWM")
    for words in (["logs", task], ["logs", "-f", task]):
        done = subprocess.run(
            f"{' '.join(cli.command(*words))} | wc -l", shell=True, env=cli.environment(),
            capture_output=True, text=True,
        )
        assert done.stdout.split() == [str(count + 1)], done.stderr
    # Nor does a reader that does not take what it asked for.
    process = cli.begin("logs", task)
    assert process.stdout.readline() == b"begin\n"
    cli("version")
    assert number("status", "VmHWM") - before < 40_000
    process.kill()
    process.communicate()
