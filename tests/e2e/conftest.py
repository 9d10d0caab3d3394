"""The installation that most tests share, and one for a test that breaks it.

Tests are run by `scripts/e2e.sh EXECUTABLE` as root. Each process of the test runner starts an
installation of its own, so that several at once are tested too.
"""

import contextlib
import os
import pathlib
import tempfile

import pytest
from botocore.exceptions import ClientError
from cli import Cli
from windlass import (
    IMAGES,
    Installation,
    Lease,
    Tasks,
    busybox,
    forever,
    port_is_free,
    unique,
    wait_until,
)


@pytest.fixture(scope="session")
def executable():
    path = os.environ.get("WINDLASS")
    if not path:
        pytest.exit("WINDLASS must name the executable: run scripts/e2e.sh EXECUTABLE", 2)
    return pathlib.Path(path).resolve()


def _load_images(installation):
    for archive in ("busybox", "nginx", "redis"):
        installation.load_image(IMAGES / f"{archive}.tar")


@pytest.fixture(scope="session")
def windlass(executable, tmp_path_factory):
    """An installation with the sample images, up for the whole run."""
    installation = Installation(executable, tmp_path_factory.mktemp("windlass"))
    try:
        installation.start()
        _load_images(installation)
        yield installation
    finally:
        installation.dispose()


@pytest.fixture(scope="session")
def ecs(windlass):
    return windlass.ecs


@pytest.fixture
def tasks(windlass):
    tasks = Tasks(windlass)
    yield tasks
    tasks.finish()


@pytest.fixture
def own(executable, tmp_path_factory):
    """An installation for this test alone, with busybox; ended and checked afterwards."""
    installation = Installation(executable, tmp_path_factory.mktemp("own"))
    try:
        installation.start()
        installation.load_image(IMAGES / "busybox.tar")
        yield installation
    finally:
        installation.dispose()


@pytest.fixture
def cli(windlass):
    """The client verbs on the installation that most tests share."""
    with tempfile.TemporaryDirectory(prefix="windlass-e2e-") as folder:
        yield Cli(windlass, folder)


@pytest.fixture
def own_cli(own):
    with tempfile.TemporaryDirectory(prefix="windlass-e2e-") as folder:
        yield Cli(own, folder)


@pytest.fixture
def cluster(ecs):
    """A cluster of this test's own, without container instances."""
    name = unique("cluster")
    ecs.create_cluster(clusterName=name)
    yield name
    with contextlib.suppress(ClientError):
        ecs.delete_cluster(cluster=name)


@pytest.fixture
def host_port(windlass):
    """A port of the machine that nobody uses, which the node knows."""
    lease = Lease("port", filter(port_is_free, range(18000, 18200)))
    wait_until(lambda: lease.number not in windlass.ports_in_use(), "another's port to be free")
    yield lease.number
    lease.release()


@pytest.fixture
def refused(ecs):
    """Calls an operation that must be refused: its code and message."""

    def call(operation, client=ecs, **members):
        with pytest.raises(ClientError) as error:
            getattr(client, operation)(**members)
        answer = error.value.response
        return answer["Error"]["Code"], answer["Error"]["Message"]

    return call


@pytest.fixture
def web(cli, tasks, host_port):
    """A task that serves, with a health check: its id."""
    check = {"command": ["CMD-SHELL", "true"], "interval": 5, "retries": 1}
    serve = "mkdir /w; echo served > /w/index.html; echo ready; exec httpd -f -p 80 -h /w"
    ports = [{"containerPort": 80, "hostPort": host_port}]
    task = tasks.start(
        busybox(serve, name="web", portMappings=ports, healthCheck=check),
        busybox(forever("echo beside"), name="side", memory=8, essential=False),
    )
    tasks.running(task)
    wait_until(lambda: tasks.describe(task)["healthStatus"] == "HEALTHY", "HEALTHY")
    wait_until(lambda: len(cli("logs", task).splitlines()) == 2, "its words")
    return task.rsplit("/", 1)[-1]
