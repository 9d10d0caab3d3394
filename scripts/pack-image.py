#!/usr/bin/env python3
"""Packs a root file system folder into an OCI archive with one gzip layer.

The same folder always gives the same bytes (names sorted, times zero), so that an image keeps its
digest from machine to machine. Uses the standard library only.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import tarfile

EPOCH = "1970-01-01T00:00:00Z"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main():
    args = arguments()
    archive = args.archive + ".tmp"
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as out:
        layer, diff_id = pack_layer(args.root)
        layer_descriptor = add_blob(
            out, layer, "application/vnd.oci.image.layer.v1.tar+gzip"
        )
        config = json.dumps(image_config(args, diff_id), sort_keys=True).encode()
        config_descriptor = add_blob(
            out, config, "application/vnd.oci.image.config.v1+json"
        )
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": config_descriptor,
                "layers": [layer_descriptor],
            },
            sort_keys=True,
        ).encode()
        manifest_descriptor = add_blob(
            out, manifest, "application/vnd.oci.image.manifest.v1+json"
        )
        add_file(out, "index.json", json.dumps(index(args, manifest_descriptor)).encode())
        add_file(out, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    os.rename(archive, args.archive)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", help="folder that becomes the layer")
    parser.add_argument("archive", help="OCI archive to write")
    parser.add_argument("--name", action="append", required=True, help="full image name")
    parser.add_argument("--cmd", action="append", default=[], help="one word of the command")
    parser.add_argument("--expose", action="append", default=[], help="80/tcp")
    parser.add_argument("--volume", action="append", default=[], help="/data")
    parser.add_argument("--stop-signal")
    parser.add_argument("--workdir")
    return parser.parse_args()


def pack_layer(root):
    """Returns the gzip bytes and the digest of the uncompressed tar (the diff id)."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(walk(root)):
            name = os.path.relpath(path, root)
            entry = tar.gettarinfo(path, arcname=name)
            if entry is None:  # a socket
                continue
            entry.mtime = 0
            entry.uname = entry.gname = ""
            if entry.isreg():
                with open(path, "rb") as content:
                    tar.addfile(entry, content)
            else:
                tar.addfile(entry)
    data = plain.getbuffer()
    diff_id = "sha256:" + hashlib.sha256(data).hexdigest()
    return gzip.compress(data, compresslevel=6, mtime=0), diff_id


def walk(root):
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            yield os.path.join(folder, name)


def image_config(args, diff_id):
    config = {"Env": [PATH]}
    if args.cmd:
        config["Cmd"] = args.cmd
    if args.expose:
        config["ExposedPorts"] = {port: {} for port in args.expose}
    if args.volume:
        config["Volumes"] = {path: {} for path in args.volume}
    if args.stop_signal:
        config["StopSignal"] = args.stop_signal
    if args.workdir:
        config["WorkingDir"] = args.workdir
    return {
        "architecture": "amd64",
        "os": "linux",
        "created": EPOCH,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": EPOCH, "created_by": "pack-image.py"}],
    }


def index(args, manifest):
    """One descriptor per name: all of them lead to the same manifest."""
    return {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                **manifest,
                "platform": {"architecture": "amd64", "os": "linux"},
                "annotations": {
                    "io.containerd.image.name": name,
                    "org.opencontainers.image.ref.name": name,
                },
            }
            for name in args.name
        ],
    }


def add_blob(out, data, media_type):
    digest = hashlib.sha256(data).hexdigest()
    add_file(out, "blobs/sha256/" + digest, data)
    return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(data)}


def add_file(out, name, data):
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    entry.mode = 0o644
    out.addfile(entry, io.BytesIO(data))


if __name__ == "__main__":
    main()
