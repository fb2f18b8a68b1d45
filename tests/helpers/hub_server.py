"""A server on this machine that speaks as much of the hub's interface as an upload needs."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class HubServer(ThreadingHTTPServer):
    """Keeps what is committed.

    Attributes:
        files: of the last commit, by name.
        message: of the last commit.
        authorizations: headers that came with requests.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.objects, self.authorizations, self.created = {}, {}, set(), []
        self.message = None
        self.refuse = False
        self.thread = threading.Thread(target=self.serve_forever)

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.shutdown()
        self.thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def answer(self, value, status=200):
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def read_body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def handle_request(self):
        body, path, hub = self.read_body(), self.path.partition("?")[0], self.server
        if self.command != "PUT":
            hub.authorizations.add(self.headers.get("Authorization"))
        if hub.refuse:
            self.answer({"error": "You have no right to do that"}, 403)
        elif path == "/api/repos/create":
            hub.created.append(json.loads(body))
            self.answer({"url": f"{hub.address}/bird/watcher", "name": "bird/watcher"})
        elif path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif path.endswith("/preupload/main"):
            files = json.loads(body)["files"]
            for file in files:
                large = file["path"].endswith((".safetensors", ".onnx", ".pt2"))
                file |= {"uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
                file["oid"] = None
            self.answer({"files": files})
        elif path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            for item in objects:
                item["actions"] = {"upload": {"href": f"{hub.address}/upload/{item['oid']}"}}
            self.answer({"transfer": "basic", "objects": objects})
        elif path.startswith("/upload/"):
            hub.objects[path.rpartition("/")[2]] = body
            self.answer({})
        elif path.endswith("/commit/main"):
            self.commit([json.loads(line) for line in body.splitlines()])
            self.answer(
                {
                    "commitOid": "a" * 40,
                    "commitUrl": f"{hub.address}/bird/watcher/commit/{'a' * 40}",
                }
            )
        else:
            self.answer({"error": f"unknown: {path}"}, 404)

    def commit(self, lines):
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                self.server.message = value["summary"]
            elif line["key"] == "file":
                self.server.files[value["path"]] = base64.b64decode(value["content"])
            else:
                self.server.files[value["path"]] = self.server.objects[value["oid"]]

    do_GET = do_POST = do_PUT = handle_request
