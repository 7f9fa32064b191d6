# SPDX-License-Identifier: GPL-2.0-or-later
"""A scripted HTTPS server for many names: MTA-STS policies, and a place to post reports to.

    web = HttpsServer(address, port)
    web.serve('mta-sts.a.test', authority.issue('mta-sts.a.test'), Page('version: STSv1…'))

What a name answers is a Page, a Redirect, STALL, or a function of the request's path that gives one of these.
"""

import http.server
import socket
import ssl
import threading
from dataclasses import dataclass, field

from .nexthop import STALL


@dataclass
class Page:
    text: str
    status: int = 200
    type: str = 'text/plain'


@dataclass
class Redirect:
    to: str


@dataclass
class Post:
    host: str
    path: str
    type: str
    body: bytes
    headers: dict = field(default_factory=dict)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def _host(self):
        return self.headers.get('Host', '').partition(':')[0]

    def _answer(self, answer):
        if callable(answer):
            answer = answer(self.path)
        if answer is STALL:
            self.server.closing.wait(60)
            self.close_connection = True
        elif isinstance(answer, Redirect):
            self.send_response(302)
            self.send_header('Location', answer.to)
            self.send_header('Content-Length', '0')
            self.end_headers()
        else:
            octets = answer.text.encode()
            self.send_response(answer.status)
            self.send_header('Content-Type', answer.type)
            self.send_header('Content-Length', str(len(octets)))
            self.end_headers()
            self.wfile.write(octets)

    def do_GET(self):
        self.server.requests.append((self._host(), self.path))
        self._answer(self.server.answers.get(self._host(), Page('not here', 404)))

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        self.server.posts.append(Post(self._host(), self.path, self.headers.get('Content-Type'), body,
                                      dict(self.headers)))
        self._answer(self.server.answers.get(self._host(), Page('', 404)))

    def log_message(self, *_arguments):
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass                # handshakes that clients break off are part of the tests


class HttpsServer:
    def __init__(self, address):
        self.contexts = {}
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sni_callback = self._choose
        self._server = _Server((address, 0), _Handler)
        self.address, self.port = self._server.server_address
        self._server.answers = {}
        self._server.requests = self.requests = []
        self._server.posts = self.posts = []
        self._server.closing = threading.Event()
        self._context = context
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True,
                                                  do_handshake_on_connect=False)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _choose(self, sock, name, _context):
        if name not in self.contexts:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        sock.context = self.contexts[name]
        return None

    def serve(self, name, pair, answer):
        """From now on: this certificate for the name, and this answer."""
        self.contexts[name] = pair.server_context()
        self._server.answers[name] = answer

    def close(self):
        self._server.closing.set()
        self._server.shutdown()
        self._server.socket.close()
