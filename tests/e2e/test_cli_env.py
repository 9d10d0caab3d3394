"""`windlass env`: what the variables and profiles lead to."""

import http.server
import os
import re
import subprocess
import tempfile
import threading

import pytest
from cli import Cli
from windlass import ROOT, Installation

VARIABLES = {
    "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION",
    "AWS_DEFAULT_REGION",
}


def test_env_in_every_shell(cli, windlass):
    wanted = {name: windlass.environment()[name] for name in VARIABLES}

    def env(*words):
        return cli("env", "--data", windlass.data, *words, root=True)

    script = 'AWS_PROFILE=x; export AWS_PROFILE; eval "$1"; env'
    done = subprocess.run(["bash", "-c", script, "bash", env()], capture_output=True, text=True)
    seen = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert {name: seen.get(name) for name in VARIABLES} == wanted
    assert "AWS_PROFILE" not in seen
    assert env("--shell", "bash") == env()
    fish = env("--shell", "fish").splitlines()
    assert fish[0].startswith("set -e AWS_PROFILE ")
    assert {f"set -gx {name} '{value}'" for name, value in wanted.items()} == set(fish[1:])
    shown = env("--shell", "json").json()
    assert {name: value for name, value in shown.items() if value is not None} == wanted
    assert shown["AWS_PROFILE"] is None
    assert set(env("--shell", "github").splitlines()) == {f"{n}={v}" for n, v in wanted.items()}
    # The keys are for their owner alone.
    said = cli("env", "--data", windlass.data, code=4)
    assert "sudo" in said.err
    assert "windlass up" in cli("env", "--data", cli.folder / "none", root=True, code=69).err


def test_the_user_behind_sudo_has_the_keys(executable, monkeypatch):
    """And no other: what `sudo windlass up` makes is for who called sudo."""
    monkeypatch.setenv("SUDO_UID", "65534")
    monkeypatch.setenv("SUDO_GID", "65534")
    with tempfile.TemporaryDirectory(prefix="windlass-e2e-") as folder:
        os.chmod(folder, 0o755)
        own = Installation(executable, f"{folder}/own")
        try:
            own.start()
            cli = Cli(own, folder)
            bare = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
            assert own.keys()[1] in cli("env", "--data", own.data, env=bare)
            assert cli("ps", "--data", own.data, env=bare).rows() == []
            other = ["setpriv", "--reuid=65533", "--regid=65533", "--clear-groups"]
            words = [*other, own.executable, "ps", "--data", own.data]
            done = subprocess.run(words, env=bare, capture_output=True, text=True)
            assert done.returncode == 4 and "which user 65534 owns" in done.stderr, done.stderr
        finally:
            own.dispose()


def test_an_old_aws_is_told(cli, windlass):
    """A CLI that does not know the variable would go to Amazon."""
    folder = cli.folder / "bin"
    folder.mkdir()
    fake = folder / "aws"
    fake.write_text("#!/bin/sh\necho aws-cli/2.9.19 Python/3.11.2 Linux/6 source/x86_64\n")
    fake.chmod(0o755)
    path = cli.environment(PATH=f"{folder}:{os.environ['PATH']}")
    assert "2.9.19" in cli("env", "--data", windlass.data, root=True, env=path).err
    path = cli.environment(PATH=f"{ROOT}/.venv/bin:{os.environ['PATH']}")
    assert cli("env", "--data", windlass.data, root=True, env=path).err == ""


@pytest.fixture
def storage():
    """A stand-in for Amazon S3: its URL, and the access keys of the calls that reached it."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(re.search(r"Credential=([^/]+)/", self.headers["authorization"])[1])
            body = b"<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>"
            self.send_response(200)
            self.send_header("content-type", "application/xml")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()


def boto(environment, service, profile, call):
    """Calls boto3 in a process of its own, as a program of the user's does: what it prints."""
    program = (
        "import boto3, botocore.config, botocore.exceptions, sys\n"
        "service, profile, call = sys.argv[1:]\n"
        "settings = botocore.config.Config(retries={'max_attempts': 0})\n"
        "client = boto3.Session(profile_name=profile or None).client(service, config=settings)\n"
        "try:\n"
        "    answer = getattr(client, call)()\n"
        "    answer.pop('ResponseMetadata')\n"
        "    print(answer)\n"
        "except botocore.exceptions.ClientError as error:\n"
        "    print('refused', client.meta.endpoint_url, error)\n"
    )
    done = subprocess.run(
        [ROOT / ".venv/bin/python", "-c", program, service, profile, call],
        env=environment, capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def bare(home, **variables):
    """The environment of a user with a home and nothing of AWS."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith("AWS_")}
    path = f"{ROOT}/.venv/bin:{os.environ['PATH']}"
    own = {"HOME": str(home), "PATH": path, "AWS_EC2_METADATA_DISABLED": "true"}
    return kept | own | variables


OWN = """# kept as it is
[default]
region = us-east-1
services = own

[services own]
s3 =
  endpoint_url = {url}
"""
OWN_KEY = "AKIAIOSFODNN7EXAMPLE"
OWN_KEYS = f"[default]\naws_access_key_id = {OWN_KEY}\naws_secret_access_key = own\n"


def test_a_profile_reaches_windlass_and_the_others_do_not(cli, windlass, tmp_path, storage):
    url, seen = storage
    folder = tmp_path / ".aws"
    folder.mkdir()
    (folder / "config").write_text(OWN.format(url=url))
    (folder / "credentials").write_text(OWN_KEYS)
    env = bare(tmp_path)
    for _ in range(2):
        said = cli("env", "--data", windlass.data, "--profile", "wl", root=True, env=env)
        assert said == ""
    assert said.err.count("as it was") == 2, "the second time there is nothing to do"
    assert (folder / "config").read_text().startswith(OWN.format(url=url))
    assert (folder / "credentials").read_text().startswith(OWN_KEYS)
    arn = windlass.arn("cluster/default")
    aws = [ROOT / ".venv/bin/aws", "--profile", "wl", "ecs", "list-clusters"]
    done = subprocess.run(aws, env=env, capture_output=True, text=True)
    assert arn in done.stdout, done.stderr
    assert arn in boto(env, "ecs", "wl", "list_clusters")
    assert windlass.account in boto(env, "sts", "wl", "get_caller_identity")
    # No call with its keys leaves the machine.
    assert f"refused {windlass.url}" in boto(env, "s3", "wl", "list_buckets")
    assert seen == []
    # The user's own profile goes where it went.
    assert "Buckets" in boto(env, "s3", "", "list_buckets")
    assert seen == [OWN_KEY]
    said = cli("env", "--data", windlass.data, "--profile", "default", root=True, env=env, code=1)
    assert "[default]" in said.err
    # Elsewhere, where the variables of the AWS tools say so.
    other = bare(tmp_path, AWS_CONFIG_FILE=f"{tmp_path}/c", AWS_SHARED_CREDENTIALS_FILE=f"{tmp_path}/k")
    cli("env", "--data", windlass.data, "--profile", "default", root=True, env=other)
    assert arn in boto(other, "ecs", "", "list_clusters")
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600


def test_the_variables_send_every_service_here(cli, windlass, tmp_path):
    shown = cli("env", "--data", windlass.data, "--shell", "json", root=True).json()
    env = bare(tmp_path, **{name: value for name, value in shown.items() if value is not None})
    assert windlass.arn("cluster/default") in boto(env, "ecs", "", "list_clusters")
    assert f"refused {windlass.url}" in boto(env, "s3", "", "list_buckets")


def test_beside_aws_only_ecs_comes_here(cli, windlass, tmp_path, storage):
    url, seen = storage
    mine = {"AWS_ACCESS_KEY_ID": OWN_KEY, "AWS_SECRET_ACCESS_KEY": "o" * 40, "AWS_DEFAULT_REGION": "us-east-1"}
    env = bare(tmp_path, AWS_ENDPOINT_URL_S3=url, **mine)
    said = cli("env", "--data", windlass.data, "--beside-aws", "--shell", "json", root=True, env=env)
    assert said.json() == {
        "AWS_ENDPOINT_URL_ECS": windlass.url, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": None
    }
    assert OWN_KEY in said.err and "windlass keys import" in said.err
    env["AWS_ENDPOINT_URL_ECS"] = windlass.url
    assert "Buckets" in boto(env, "s3", "", "list_buckets") and seen == [OWN_KEY]
    assert f"refused {windlass.url}" in boto(env, "ecs", "", "list_clusters"), "not imported yet"
    cli("keys", "import", "--name", "beside", "--data", windlass.data, root=True, env=env)
    try:
        assert windlass.arn("cluster/default") in boto(env, "ecs", "", "list_clusters")
        assert "Buckets" in boto(env, "s3", "", "list_buckets")
        words = ["env", "--data", windlass.data, "--beside-aws"]
        assert cli(*words, root=True, env=env).err == "", "nothing stands in the way any more"
        assert cli("ps", env=env).rows() is not None
    finally:
        cli("keys", "rm", "beside", "--data", windlass.data, root=True)
    assert "eu-west-1" in cli(
        "env", "--data", windlass.data, "--beside-aws", root=True, env=env | {"AWS_DEFAULT_REGION": "eu-west-1"}
    ).err
