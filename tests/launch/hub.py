"""A hub of weights on this machine, in the place of huggingface.co: one file of each repository."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789" * 4


class Hub:
    """Answers as the hub does when it is asked for a file.

    Attributes:
        files: what there is, by ``REPOSITORY/FILE``.
        asked: the requests that came, such as ``"GET timm/x/model.safetensors"``.
        silent: whether requests are left without an answer.
        gone: is set when the one that waits for an answer is no longer there.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.silent = False
        self.came, self.gone = threading.Event(), threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        """What HF_ENDPOINT has to be."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._server.server_close()

    def fetched(self, name: str) -> int:
        """How often a file was sent."""
        return self.asked.count(f"GET {name}")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._answer()

            def do_GET(self) -> None:
                self.wfile.write(self._answer())

            def log_message(self, format: str, *args: object) -> None:
                pass

            def _answer(self) -> bytes:
                name = self.path.lstrip("/").replace("/resolve/main/", "/")
                hub.asked.append(f"{self.command} {name}")
                hub.came.set()
                if hub.silent:
                    self.rfile.read(1)
                    hub.gone.set()
                    return b""
                content = hub.files.get(name)
                self.send_response(200 if content is not None else 404)
                self.send_header("X-Repo-Commit", COMMIT)
                if content is None:
                    self.send_header("X-Error-Code", "EntryNotFound")
                else:
                    self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                return content or b""

        return Handler
