"""`windlass nodes` and `images`."""

import json
import shutil
import subprocess

from windlass import IMAGES, Lease, busybox, http_get_soon, port_is_free, unique, wait_until


def test_nodes(cli, cluster, tasks):
    (row,) = cli("nodes").rows()
    assert row["CONNECTED"] == "yes" and row["MEMORY LEFT"].endswith("MiB")
    assert cli("nodes", "ls") == cli("nodes", "ls", "--output", "table")
    for words in (["nodes", "-o", "json"], ["nodes", "ls", "-o", "json"], ["nodes", "-o", "json", "ls"]):
        (node,) = cli(*words).json()["nodes"]
        assert node["id"].startswith(row["NODE"])
    path, family = cli.definition(busybox("exit 0", memory=8))
    cli("register", path)
    # It joins by itself; what is removed stays so, until it is added.
    assert cli("run", family, "--cluster", cluster) == ""
    assert "joined by itself" in cli("history", f"cluster/{cluster}")
    answer = cli("nodes", "rm", "--cluster", cluster, "--output", "json").json()
    assert cluster not in [it["cluster"] for it in answer["node"]["containerInstances"]]
    said = cli("run", family, "--cluster", cluster, code=1)
    assert f"windlass nodes add --cluster {cluster}" in said.err
    answer = cli("nodes", "add", "--cluster", cluster, "--output", "json").json()
    (member,) = [it for it in answer["node"]["containerInstances"] if it["cluster"] == cluster]
    assert (member["status"], member["onDemand"]) == ("ACTIVE", False)
    assert cli("run", family, "--cluster", cluster) == ""
    assert cluster in cli("nodes", "add", "--cluster", cluster, "--node", row["NODE"])
    assert cli("nodes", "add", "--cluster", "nowhere", code=3).err
    assert cli("nodes", "add", "--cluster", cluster, "--node", "zz", code=3).err


def test_images(cli, tasks, tmp_path):
    archive = shutil.copy(IMAGES / "busybox.tar", cli.folder)
    (row, *_) = cli("images", "load", archive).rows()
    assert row["DIGEST"].startswith("sha256:")
    loaded = cli("images", "load", archive, "-o", "json").json()["images"]
    assert {image["name"] for image in loaded} == {"busybox:latest", "busybox:1.35"}
    rows = {row["IMAGE"]: row for row in cli("images").rows()}
    assert rows[loaded[0]["name"]]["SIZE"].endswith("iB")
    names = [image["name"] for image in cli("images", "ls", "--output", "json").json()["images"]]
    assert set(names) == set(rows)

    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin" / "busybox")
    name = unique("tiny")
    # The server reads the folder, which is for root alone.
    answer = cli("images", "import-rootfs", name, root, "-o", "json", root=True).json()
    assert answer["images"][0]["name"].startswith(name)
    task = tasks.start(
        {"name": "main", "image": name, "memory": 16, "command": ["/bin/busybox", "sleep", "60"]}
    )
    tasks.running(task)
    said = cli("images", "rm", name, code=1)
    assert "use" in said.err
    tasks.stop(task)
    tasks.stopped(task)

    def removed():
        done = subprocess.run(
            cli.command("images", "rm", name, "--output", "json"),
            env=cli.environment(), capture_output=True, text=True,
        )
        return done.returncode == 0 and json.loads(done.stdout)

    assert wait_until(removed, "the image is let go") == {"removed": name}
    assert cli("images", "rm", name, code=3).err
    assert cli("images", "load", "nothing.tar", code=3).err
    assert cli("images", "load", cli.file("no.tar", "no archive"), code=1).err
    said = cli("images", "pull", f"localhost:1/{name}", code=1)
    assert name in said.err
    assert cli("images", "pull", "UPPER CASE", code=1).err


def test_an_image_from_a_registry(cli, tasks, tmp_path):
    """Debian's registry on loopback, filled by skopeo."""
    lease = Lease("port", filter(port_is_free, range(18300, 18400)))
    config = tmp_path / "config.yml"
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/store}}}}\n"
        f"http: {{addr: 127.0.0.1:{lease.number}}}\n"
    )
    serve = ["docker-registry", "serve", config]
    registry = subprocess.Popen(serve, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        host = f"localhost:{lease.number}"
        name = f"{host}/team/box:1"
        http_get_soon(f"http://{host}/v2/")
        source = f"oci-archive:{IMAGES}/busybox.tar:docker.io/library/busybox:latest"
        copy = ["skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", source]
        done = subprocess.run([*copy, f"docker://{name}"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        (row,) = cli("images", "pull", name).rows()
        assert row["IMAGE"] == name and row["DIGEST"].startswith("sha256:")
        (pulled,) = cli("images", "pull", name, "-o", "json").json()["images"]
        assert (pulled["name"], pulled["digest"]) == (name, row["DIGEST"])
    finally:
        registry.kill()
        registry.wait()
        lease.release()
    # What is here needs no registry.
    path, _ = cli.definition(busybox("echo pulled", image=name))
    assert cli("run", path) == "pulled\n"
