"""A local server in place of the Hugging Face hub and plain file hosts: no test needs a network.

It serves data sets and models, each {path: bytes}, at any revision. It can gate one or misbehave.
HF_ENDPOINT is read once, when the libraries are imported, so its users run in a subprocess.
"""

import hashlib
import json
import re
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34  # serves a revision that is not a commit
API = re.compile(
    r"/api/(?:datasets|models)/(?P<id>[^/]+/[^/]+?)"
    r"(?:/(?P<what>revision|tree)/(?P<revision>[^/]+)(?:/(?P<folder>.*))?)?"
)
FILE = re.compile(r"(?:/datasets)?/(?P<id>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")


@contextmanager
def serving(
    repositories: dict[str, dict[str, bytes]],
    files: dict[str, bytes],
    gated: tuple[str, ...] = (),
    faults: dict[str, str] | None = None,
):
    """Yield the address of a server of `repositories` (id -> path -> content).

    It serves `files` below /raw/. `faults` maps the end of a path to its fault: `truncated` (half
    of the content), `slow` (a second before each answer) or `stalled` (no answer).
    """
    content = {"repositories": repositories, "files": files, "gated": gated, "faults": faults or {}}
    with running(type("Handler", (_Handler,), content)) as address:
        yield address


@contextmanager
def running(handler):
    """Yield the address of a loopback server with this handler of requests."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path = urlsplit(self.path).path
        self.fault = next(
            (kind for end, kind in self.faults.items() if unquote(path).endswith(end)), ""
        )
        if self.fault in ("slow", "stalled"):
            time.sleep(1 if self.fault == "slow" else 4)
        if path.startswith("/raw/"):
            return self._send(self.files.get(unquote(path[5:])))
        asked = API.fullmatch(path) or FILE.fullmatch(path)
        if asked is None or asked["id"] not in self.repositories:
            return self._send(None, "RepoNotFound")
        if asked["id"] in self.gated:
            return self._send(None, "GatedRepo", 403)
        repository, revision = self.repositories[asked["id"]], unquote(asked["revision"] or "main")
        self.commit = revision if re.fullmatch("[0-9a-f]{40}", revision) else COMMIT
        if "path" in asked.groupdict():
            return self._send(repository.get(unquote(asked["path"])), "EntryNotFound")
        if asked["what"] == "tree":
            return self._send(
                json.dumps(self._tree(repository, unquote(asked["folder"] or ""))).encode(),
                kind="application/json",
            )
        entry = {
            "id": asked["id"],
            "sha": self.commit,
            "private": False,
            "gated": False,
            "siblings": [{"rfilename": name} for name in repository],
        }
        return self._send(json.dumps(entry).encode(), kind="application/json")

    do_HEAD = do_GET
    commit, fault = COMMIT, ""

    @staticmethod
    def _tree(repository: dict, folder: str) -> list[dict]:
        inside = {
            name: content
            for name, content in repository.items()
            if not folder or name.startswith(folder + "/")
        }
        folders = {
            name.rsplit("/", depth)[0] for name in inside for depth in range(1, name.count("/") + 1)
        }
        return [
            {"type": "directory", "path": path, "oid": "0" * 40, "size": 0}
            for path in sorted(folders)
            if path != folder
        ] + [
            {
                "type": "file",
                "path": name,
                "oid": hashlib.sha1(content).hexdigest(),
                "size": len(content),
            }
            for name, content in inside.items()
        ]

    def _send(
        self,
        content: bytes | None,
        error: str = "EntryNotFound",
        status: int = 404,
        kind: str = "application/octet-stream",
    ):
        body, first, last = content if content is not None else b"{}", 0, None
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted and content is not None:
            first, last = int(wanted[1]), min(int(wanted[2] or len(body) - 1), len(body) - 1)
            part = body[first : last + 1]
        else:
            part = body
        self.send_response(status if content is None else 206 if last is not None else 200)
        if content is None:
            self.send_header("X-Error-Code", error)
        if last is not None:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(body)}")
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", self.commit)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(part if self.fault != "truncated" else part[: len(part) // 2])
            self.close_connection |= self.fault == "truncated"

    def log_message(self, *_):
        """Say nothing: pytest shows what matters."""
