"""A registry that serves busybox, moves its tag, falls silent or asks for a password."""

import base64
import hashlib
import json
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from windlass import IMAGES

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def _digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Registry:
    """Serves `app:v1` on loopback until closed. `behaviour` is called before each answer and may
    give a status, headers and a body in its place."""

    def __init__(self, login=None):
        self.blobs, self.asked, self.login = {}, [], login
        self.behaviour = lambda path: None
        with tarfile.open(IMAGES / "busybox.tar") as archive:
            for member in archive.getmembers():
                if member.name.startswith("blobs/"):
                    data = archive.extractfile(member).read()
                    self.blobs[_digest(data)] = data
            index = json.load(archive.extractfile("index.json"))
        self.manifest = self.blobs[index["manifests"][0]["digest"]]
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                registry._answer(self)

            do_HEAD = do_GET

            def log_message(self, *words):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.image = f"{self.host}/app:v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def digest(self):
        return _digest(self.manifest)

    def move(self):
        """The tag leads to another image from now on, with the same layers."""
        manifest = json.loads(self.manifest)
        config = json.loads(self.blobs[manifest["config"]["digest"]])
        config["config"].setdefault("Env", []).append(f"MOVED={time.time()}")
        data = json.dumps(config).encode()
        self.blobs[_digest(data)] = data
        manifest["config"] |= {"digest": _digest(data), "size": len(data)}
        self.manifest = json.dumps(manifest).encode()

    def _answer(self, request):
        self.asked.append((request.command, request.path))
        status, headers, body = self.behaviour(request.path) or self._usual(request)
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body)

    def _usual(self, request):
        if self.login:
            wanted = "Basic " + base64.b64encode(":".join(self.login).encode()).decode()
            if request.headers.get("Authorization") != wanted:
                return 401, {"WWW-Authenticate": 'Basic realm="test"'}, b"{}"
        if request.path == "/v2/":
            return 200, {}, b"{}"
        kind, _, version = request.path.rpartition("/")
        data = self.blobs.get(version)
        if kind.endswith("/manifests") and version in ("v1", self.digest):
            data = self.manifest
        if data is None:
            body = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'
            return 404, {}, body
        return 200, {"Content-Type": MANIFEST, "Docker-Content-Digest": _digest(data)}, data

    def close(self):
        self.server.shutdown()
        self.server.server_close()
