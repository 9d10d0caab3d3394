"""Tasks on the network: ports of the machine, siblings, other tasks, names, and none at all."""

import os
import socket
import sys
import time

import pytest
from windlass import (
    Tasks,
    busybox,
    container,
    http_get,
    told,
    wait_until,
)

NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
SERVE = "mkdir /www; echo {} > /www/index.html; exec httpd -f -p 80 -h /www"


# With `nc`, because the `wget` of this image's static busybox does not bear a time limit.
FETCH = "until printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {} 80 2>/dev/null | grep {}; do sleep 0.2; done"


def server(words, **members):
    return busybox(SERVE.format(words), **members)


def get(url):
    return wait_until(lambda: _try(url), f"an answer from {url}")


def _try(url):
    try:
        return http_get(url, 2)
    except OSError:
        return None


def address(record):
    details = {d["name"]: d["value"] for d in record["attachments"][0]["details"]}
    return details["privateIPv4Address"]


def test_dynamic_ports(tasks):
    name = tasks.register(server("dynamic", portMappings=[{"containerPort": 80}]))
    seen = set()
    for _ in range(3):
        record = tasks.running(tasks.run(name))
        (binding,) = container(record, "main")["networkBindings"]
        assert (binding["containerPort"], binding["protocol"]) == (80, "tcp")
        assert binding["bindIP"] == "0.0.0.0"
        assert get(f"http://127.0.0.1:{binding['hostPort']}/") == (200, "dynamic\n")
        seen.add(binding["hostPort"])
    assert len(seen) == 3


def test_ports_are_published_where_the_operator_says(own, monkeypatch):
    """On a laptop: for its user alone, and so it stays."""
    up = own.up_command()
    assert own.terminate() == 0
    monkeypatch.setattr(own, "_up", lambda: [*up, "--publish-address", "127.0.0.1"])
    own.start()
    monkeypatch.setattr(own, "_up", lambda: up)
    tasks = Tasks(own)
    name = tasks.register(server("laptop", portMappings=[{"containerPort": 80}]))

    def is_private(task):
        record = tasks.running(task)
        (binding,) = container(record, "main")["networkBindings"]
        assert binding["bindIP"] == "127.0.0.1"
        port = binding["hostPort"]
        assert get(f"http://127.0.0.1:{port}/") == (200, "laptop\n")
        gateway = own.subnet.replace("0.0/16", "0.1")
        with pytest.raises(OSError):
            socket.create_connection((gateway, port), timeout=2)

    first = tasks.run(name)
    is_private(first)
    own.kill()
    own.start()
    is_private(first)
    is_private(tasks.run(name))
    tasks.finish()


def test_a_port_is_reached_from_elsewhere_and_closed_with_its_task(windlass, tasks, host_port):
    ports = [{"containerPort": 80, "hostPort": host_port}]
    task = tasks.start(server("open", portMappings=ports))
    tasks.running(task)
    # By the machine's own name and by the loopback address, as a client may.
    gateway = windlass.subnet.replace("0.0/16", "0.1")
    for host in ("127.0.0.1", "localhost", gateway):
        assert get(f"http://{host}:{host_port}/") == (200, "open\n")
    tasks.stop(task)
    tasks.stopped(task)
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", host_port), timeout=2)


UDP_SERVER = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", 5000))
while True:
    words, client = server.recvfrom(100)
    server.sendto(b"answered " + words, client)
"""


def test_udp_ports(own, host_port):
    """Served by the machine's Python inside a container, since the image has nothing for UDP."""
    folders = {"system": "/usr", "python": sys.base_prefix}
    if sys.base_prefix == "/usr":
        del folders["python"]
    assert own.terminate() == 0
    own.options = [f"--allow-host-path={path}:ro" for path in folders.values()]
    own.start()
    tasks = Tasks(own)
    task = tasks.start(
        busybox(
            entryPoint=[os.path.realpath(sys.executable), "-c"],
            command=[UDP_SERVER],
            memory=64,
            portMappings=[{"containerPort": 5000, "hostPort": host_port, "protocol": "udp"}],
            mountPoints=[
                {"sourceVolume": name, "containerPath": path, "readOnly": True}
                for name, path in folders.items()
            ],
        ),
        volumes=[{"name": n, "host": {"sourcePath": path}} for n, path in folders.items()],
    )
    (binding,) = container(tasks.running(task), "main")["networkBindings"]
    assert (binding["hostPort"], binding["protocol"]) == (host_port, "udp")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.5)

        def answer():
            client.sendto(b"question", ("127.0.0.1", host_port))
            try:
                return client.recv(100)
            except OSError:
                return None

        assert wait_until(answer, "an answer by UDP") == b"answered question"
    tasks.finish()


def test_tasks_reach_each_other(windlass, tasks):
    """awsvpc to awsvpc by address, and bridge to a published port over the gateway."""
    served = tasks.running(
        tasks.start(
            server("from a task"), networkMode="awsvpc", run={"networkConfiguration": NETWORK}
        )
    )
    assert get(f"http://{address(served)}/") == (200, "from a task\n")
    fetch = FETCH.format(address(served), "from")
    for members in (
        {"networkMode": "awsvpc", "run": {"networkConfiguration": NETWORK}},
        {"networkMode": "bridge"},
        {"networkMode": "host"},
    ):
        task = tasks.start(busybox(fetch), **members)
        record = tasks.stopped(task)
        assert windlass.text(task) == "from a task", told(record)


def test_links_lead_to_siblings(windlass, tasks):
    script = "; ".join(FETCH.format(name, "sibling") for name in ("web", "alias"))
    task = tasks.start(
        server("sibling", name="web", memory=16),
        busybox(script, links=["web", "web:alias"]),
    )
    record = tasks.stopped(task)
    assert windlass.text(task, "main").split() == ["sibling"] * 2, told(record)


def test_containers_of_awsvpc_share_localhost(windlass, tasks):
    task = tasks.start(
        server("shared", name="web", memory=16),
        busybox(FETCH.format("127.0.0.1", "shared")),
        networkMode="awsvpc",
        run={"networkConfiguration": NETWORK},
    )
    record = tasks.stopped(task)
    assert windlass.text(task, "main").endswith("shared"), told(record)


def test_no_network(windlass, tasks):
    task = tasks.start(
        busybox("ip -o link | wc -l; ip -o addr show lo | grep -c 127.0.0.1; hostname"),
        networkMode="none",
    )
    record = tasks.stopped(task)
    assert windlass.text(task).split()[:2] == ["1", "1"], told(record)


def test_the_host_network(windlass, tasks, host_port):
    task = tasks.start(
        busybox(
            f"echo on the host > /tmp/index.html; exec httpd -f -p {host_port} -h /tmp",
            portMappings=[{"containerPort": host_port}],
        ),
        networkMode="host",
    )
    record = tasks.running(task)
    assert get(f"http://127.0.0.1:{host_port}/") == (200, "on the host\n")
    (binding,) = container(record, "main")["networkBindings"]
    assert (binding["containerPort"], binding["hostPort"]) == (host_port, host_port)


def test_names_inside(windlass, tasks):
    script = "hostname; echo; cat /etc/hosts; echo; cat /etc/resolv.conf"
    task = tasks.start(
        busybox(
            script,
            hostname="somebody",
            extraHosts=[{"hostname": "friend", "ipAddress": "10.9.8.7"}],
            dnsServers=["10.9.8.6"],
            dnsSearchDomains=["example.test"],
        )
    )
    tasks.stopped(task)
    hostname, hosts, resolv = windlass.text(task).split("\n\n")
    assert hostname == "somebody"
    rows = [line.split() for line in hosts.splitlines()]
    assert ["10.9.8.7", "friend"] in rows and any("somebody" in row[1:] for row in rows)
    assert any(row[0] == "127.0.0.1" and "localhost" in row for row in rows)
    assert "nameserver 10.9.8.6" in resolv and "search example.test" in resolv


def test_awsvpc_names(windlass, tasks):
    task = tasks.start(
        busybox("hostname; cat /etc/hosts; hostname -i; cat /etc/resolv.conf"),
        networkMode="awsvpc",
        run={"networkConfiguration": NETWORK},
    )
    record = tasks.stopped(task)
    text = windlass.text(task)
    details = {d["name"]: d["value"] for d in record["attachments"][0]["details"]}
    assert details["privateDnsName"] in text and details["privateIPv4Address"] in text, text
    assert "nameserver" in text


def test_two_installations_live_side_by_side(own, windlass, tasks, host_port):
    """Each with its own addresses; a port that one published is taken for the other."""
    other = Tasks(own)
    ports = [{"containerPort": 80, "hostPort": host_port}]
    theirs = other.start(server("theirs", portMappings=ports))
    other.running(theirs)
    assert get(f"http://127.0.0.1:{host_port}/") == (200, "theirs\n")
    mine = tasks.start(server("mine", portMappings=ports))
    record = tasks.stopped(mine)
    assert str(host_port) in container(record, "main")["reason"], told(record)
    assert get(f"http://127.0.0.1:{host_port}/") == (200, "theirs\n")
    other.finish()


def test_addresses_are_given_back(windlass, tasks):
    before = set(windlass.leftovers())
    name = tasks.register(busybox("exit 0"), networkMode="awsvpc")
    arns = [tasks.run(name, networkConfiguration=NETWORK) for _ in range(6)]
    addresses = {address(tasks.stopped(task)) for task in arns}
    assert len(addresses) == 6
    deadline = time.monotonic() + 10
    links = lambda: {line for line in windlass.leftovers() if line.startswith("link")}  # noqa: E731
    while len(links()) > len([b for b in before if b.startswith("link")]):
        assert time.monotonic() < deadline, links()
        time.sleep(0.1)
