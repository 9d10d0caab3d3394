"""Host paths: what the machine's own is and what is data, and the agents that watch machines."""

import contextlib
import fcntl
import os
import pathlib
import shutil
import socket
import tempfile

import pytest
from windlass import IMAGES, Installation, Tasks, busybox, container, told

DATADOG = {
    "containers": [{
        "name": "datadog-agent", "image": "busybox", "cpu": 100, "memory": 512, "essential": True,
        "environment": [{"name": "DD_API_KEY", "value": "x"}, {"name": "DD_SITE", "value": "x"}],
        "mountPoints": [
            {"sourceVolume": "docker_sock", "containerPath": "/var/run/docker.sock",
             "readOnly": True},
            {"sourceVolume": "cgroup", "containerPath": "/host/sys/fs/cgroup", "readOnly": True},
            {"sourceVolume": "proc", "containerPath": "/host/proc", "readOnly": True},
        ],
    }],
    "volumes": {"docker_sock": "/var/run/docker.sock", "proc": "/proc/",
                "cgroup": "/sys/fs/cgroup/"},
    "allow": ["/var/run/docker.sock:ro", "/proc:ro", "/sys/fs/cgroup:ro"],
    "sees": "[ -S /var/run/docker.sock ] && [ -e /host/proc/1/stat ] && "
            "[ -n \"$(ls /host/sys/fs/cgroup)\" ]",
}

NODE_EXPORTER = {
    "containers": [{
        "name": "node-exporter", "image": "busybox", "memory": 128, "essential": True,
        "mountPoints": [
            {"sourceVolume": "proc", "containerPath": "/host/proc", "readOnly": True},
            {"sourceVolume": "sys", "containerPath": "/host/sys", "readOnly": True},
            {"sourceVolume": "rootfs", "containerPath": "/rootfs", "readOnly": True},
        ],
    }],
    "networkMode": "host",
    "pidMode": "host",
    "volumes": {"proc": "/proc", "sys": "/sys", "rootfs": "/"},
    "allow": ["/:ro"],
    "sees": "[ -e /host/proc/1/stat ] && [ -d /host/sys/class/net/lo ] && [ -d /rootfs/etc ]",
}

CADVISOR = {
    "containers": [{
        "name": "cadvisor", "image": "busybox", "cpu": 10, "memory": 300, "essential": True,
        "portMappings": [{"containerPort": 8080}],
        "privileged": True,
        "mountPoints": [
            {"sourceVolume": "root", "containerPath": "/rootfs", "readOnly": True},
            {"sourceVolume": "var_run", "containerPath": "/var/run", "readOnly": False},
            {"sourceVolume": "sys", "containerPath": "/sys", "readOnly": True},
            {"sourceVolume": "var_lib_docker", "containerPath": "/var/lib/docker",
             "readOnly": True},
            {"sourceVolume": "dev_disk", "containerPath": "/dev/disk", "readOnly": True},
        ],
    }],
    "volumes": {"root": "/", "var_run": "/var/run", "sys": "/sys",
                "var_lib_docker": "/var/lib/docker/", "dev_disk": "/dev/disk/"},
    "allow": ["/:ro", "/var/run"],
    "sees": "[ -d /rootfs/etc ] && [ -S /var/run/docker.sock ] && [ -d /sys/class/net ] && "
            "[ -d /var/lib/docker/containers ] && [ -d /dev/disk ]",
}

FILEBEAT = {
    "containers": [{
        "name": "filebeat", "image": "busybox", "memory": 256, "essential": True, "user": "root",
        "mountPoints": [
            {"sourceVolume": "containers", "containerPath": "/var/lib/docker/containers",
             "readOnly": True},
            {"sourceVolume": "docker", "containerPath": "/var/run/docker.sock", "readOnly": True},
            {"sourceVolume": "log", "containerPath": "/var/log", "readOnly": True},
        ],
    }],
    "volumes": {"containers": "/var/lib/docker/containers", "docker": "/var/run/docker.sock",
                "log": "/var/log"},
    "allow": ["/var/lib/docker/containers:ro", "/var/run/docker.sock:ro"],
    "sees": "[ -d /var/lib/docker/containers ] && [ -S /var/run/docker.sock ] && [ -d /var/log ]",
}

AGENTS = [DATADOG, NODE_EXPORTER, CADVISOR, FILEBEAT]
NAMES = [agent["containers"][0]["name"] for agent in AGENTS]


@contextlib.contextmanager
def machine_with_docker():
    """What the agents look for, where this machine has none of it."""
    made = []
    # One of these at a time: they are the machine's.
    lock = open("/tmp/windlass-e2e-docker.lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    for path in ("/var/lib/docker/containers", "/dev/disk"):
        missing = [p for p in (pathlib.Path(path), *pathlib.Path(path).parents) if not p.exists()]
        os.makedirs(path, exist_ok=True)
        made += missing
    docker = pathlib.Path("/run/docker.sock")
    listener = None
    if not docker.exists():
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(docker))
    try:
        yield
    finally:
        if listener is not None:
            listener.close()
            docker.unlink()
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()
        lock.close()


def start(tasks, agent):
    containers = [dict(c, command=["sh", "-c", agent["sees"]]) for c in agent["containers"]]
    volumes = [{"name": n, "host": {"sourcePath": p}} for n, p in agent["volumes"].items()]
    members = {n: agent[n] for n in ("networkMode", "pidMode") if n in agent}
    return tasks.start(*containers, volumes=volumes, **members)


@pytest.mark.parametrize("agent", AGENTS, ids=NAMES)
def test_agents_that_watch_machines_run_where_the_operator_allows_it(
    executable, tmp_path_factory, agent
):
    installation = Installation(executable, tmp_path_factory.mktemp("watched"))
    installation.options = [f"--allow-host-path={path}" for path in agent["allow"]]
    with machine_with_docker():
        try:
            installation.start()
            installation.load_image(IMAGES / "busybox.tar")
            tasks = Tasks(installation)
            record = tasks.stopped(start(tasks, agent))
            assert record["containers"][0].get("exitCode") == 0, told(record)
        finally:
            installation.dispose()


@pytest.mark.parametrize("agent", AGENTS, ids=NAMES)
def test_without_that_the_refusal_names_the_flag(tasks, agent):
    record = tasks.stopped(start(tasks, agent))
    reason = record["containers"][0]["reason"]
    assert "hand over the node" in reason, told(record)
    assert "windlass up --allow-host-path " in reason, reason


def run(tasks, path, script="true", **mount):
    volumes = [{"name": "host", "host": {"sourcePath": str(path)}}]
    mounts = [{"sourceVolume": "host", "containerPath": "/host"} | mount]
    return tasks.stopped(tasks.start(busybox(script, mountPoints=mounts), volumes=volumes))


def test_data_is_given_and_what_is_the_machines_own_is_not(tasks):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="windlass-e2e-data-"))
    try:
        record = run(tasks, folder / "made", "echo x > /host/file")
        assert container(record, "main")["exitCode"] == 0, told(record)
        assert (folder / "made/file").read_text() == "x\n"
        for path in ("/etc", "/root", "/boot", "/usr/bin", "/bin", "/var/run", "/sys/fs/cgroup"):
            record = run(tasks, path, readOnly=True)
            assert "hand over the node" in container(record, "main")["reason"], told(record)
        record = run(tasks, "/etc/ssl/certs", readOnly=True)
        assert container(record, "main")["exitCode"] == 0, told(record)
        record = run(tasks, "/etc/ssl/certs")
        assert "set readOnly in the mount point" in container(record, "main")["reason"]
    finally:
        shutil.rmtree(folder)


def test_a_link_that_a_container_planted_hands_out_nothing(tasks):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="windlass-e2e-links-"))
    try:
        script = "ln -s /etc /host/etc; ln -s /etc/cron.d /host/cron; ln -s ../.. /host/up"
        record = run(tasks, folder, script)
        assert container(record, "main")["exitCode"] == 0, told(record)
        for name in ("etc", "etc/cron.d", "cron", "cron/new", "up"):
            record = run(tasks, folder / name, "ls /host", readOnly=True)
            assert container(record, "main").get("exitCode") is None, told(record)
            assert "could have put there" in container(record, "main")["reason"], told(record)
    finally:
        shutil.rmtree(folder)
