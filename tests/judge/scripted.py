"""A scripted judge on localhost: a real HTTP server with OpenAI's interface, its faults drawn afresh for each call."""

import email.utils
import hashlib
import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WORST = {"429": 0.30, "5xx": 0.10, "hang": 0.05, "reset": 0.02, "malformed": 0.03}
"""Half of all calls fail."""


def identity(body):
    """SHA-256 of a request."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def rating(body):
    """A verdict that depends on the whole request, as a judge's would."""
    return f"This answers what was asked. Rating: [[{1 + int(identity(body), 16) % 10}]]"


class ScriptedJudge:
    """`with ScriptedJudge() as judge:` serves at `judge.base_url`.

    `answer(body)` gives the text of a reply, or the whole `choices[0]` as a dict. `faults` are kinds and their shares.
    With `texts` it continues plain texts too, whose bodies have a `prompt`.
    """

    def __init__(
        self, answer=rating, *, faults=None, seed=None, key=None, delay=0.0, retry_after=(0,), port=0, texts=False
    ):
        self.answer = answer
        self.paths = {"/v1/chat/completions", *(["/v1/completions"] if texts else [])}
        self.faults = dict(faults or {})
        self.key = key
        """The only key it takes. Whatever it is asked, it repeats the key."""
        self.delay = delay
        """Seconds that a reply takes."""
        self.retry_after = retry_after
        """What a 429 may ask to wait, in seconds; None says nothing."""
        self.down = False
        """Answer every call with 503."""
        self.fates = Counter()
        """Calls by what became of them: `answered`, or a kind of fault."""
        self.asked = []
        """Time, body and headers of each call."""
        self.waits = []
        """Requests that were told to wait: their `identity`, when, and how many seconds."""
        self.completed = Counter()
        """Replies that left whole, by `identity` of their request."""
        self.busy = 0
        """Calls that it is at."""
        self.stopping = threading.Event()
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.judge = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def port(self):
        return self._server.server_address[1]

    @property
    def base_url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def calls(self):
        return sum(self.fates.values())

    @property
    def faulty(self):
        """Calls that it did not answer."""
        return self.calls - self.fates["answered"]

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fate(self, headers, body):
        """What becomes of a call, and a random number for its details."""
        with self._lock:
            self.asked.append((time.monotonic(), body, dict(headers)))
            drawn = self._drawn()
            if self.down:
                drawn = "down"
            if self.key is not None and headers["Authorization"] != f"Bearer {self.key}":
                drawn = "unauthorized"
            self.fates[drawn] += 1
            self.busy += 1
            return drawn, self._random.random()

    def complete(self, body):
        """Take note of a reply that left whole."""
        with self._lock:
            self.completed[identity(body)] += 1

    def leave(self):
        """Be done with a call."""
        with self._lock:
            self.busy -= 1

    def promise(self, body, seconds):
        """Take note that a request was told to come again no sooner."""
        with self._lock:
            self.waits.append((identity(body), time.monotonic(), seconds))

    def _drawn(self):
        at = self._random.random()
        for kind, share in self.faults.items():
            at -= share
            if at < 0:
                return kind
        return "answered"


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # the end waits for all of them
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """Clients that are killed, and connections reset on purpose, are no errors."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 0.05  # between looks at whether the server stops

    @property
    def judge(self):
        return self.server.judge

    def handle_one_request(self):
        with suppress(OSError):
            while not self._sent_something():
                if self.judge.stopping.is_set():
                    break
            else:
                super().handle_one_request()
                return
        self.close_connection = True

    def _sent_something(self):
        try:
            self.connection.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return False
        return True

    def do_POST(self):
        self.connection.settimeout(10)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fate, shape = self.judge.fate(self.headers, body)
        if self.path not in self.judge.paths:
            fate = "404"
        try:
            getattr(self, f"be_{FATES[fate]}")(body, shape)
            self.connection.settimeout(self.timeout)
        finally:
            self.judge.leave()

    def be_answered(self, body, _):
        self.judge.stopping.wait(self.judge.delay)
        self.send(200, json.dumps(self.completion(body)))
        self.judge.complete(body)

    def be_throttled(self, body, shape):
        at = shape * len(self.judge.retry_after)
        wait = self.judge.retry_after[int(at)]
        if wait is None:
            self.send(429, self.error("slow down"))
            return
        until = int(time.time() + wait) if at % 1 < 0.5 else time.time() + wait  # dates tell whole seconds
        value = email.utils.formatdate(until, usegmt=True) if at % 1 < 0.5 else str(wait)
        self.judge.promise(body, until - time.time())
        self.send(429, self.error("slow down"), {"Retry-After": value})

    def be_broken(self, _, shape):
        page = "<html><title>nginx</title></html>"
        self.send(500 + int(shape * 5), page if shape < 0.5 else self.error("something broke"))

    def be_down(self, *_):
        self.send(503, self.error("down"))

    def be_unauthorized(self, *_):
        self.send(401, self.error("that is not the key"))

    def be_rejected(self, *_):
        self.send(400, self.error("the prompt is too long"))

    def be_missing(self, *_):
        self.send(404, self.error("there is no such model"))

    def be_unpaid(self, *_):
        self.send(402, self.error("no credit"))

    def be_elsewhere(self, *_):
        self.send(307, "", {"Location": f"{self.judge.base_url}/elsewhere"})

    def be_hanging(self, *_):
        self.connection.settimeout(self.timeout)
        while not self.judge.stopping.is_set():
            with suppress(TimeoutError):
                if not self.connection.recv(1):
                    break
        self.close_connection = True

    def be_reset(self, *_):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def be_malformed(self, body, shape):
        whole = self.completion(body)
        text = json.dumps(whole)
        what = "text" if "prompt" in body else "message"
        none, number = ({what: value if what == "text" else {"content": value}} for value in (None, 7))
        spoiled = [
            text[: len(text) // 2],
            "",
            "<html>a login page</html>",
            json.dumps({**whole, "choices": []}),
            json.dumps({**whole, "choices": None}),
            json.dumps({**whole, "choices": [{"index": 0, "finish_reason": "stop"}]}),
            json.dumps({**whole, "choices": [{**none, "finish_reason": "stop"}]}),
            json.dumps({**whole, "choices": [{**number, "finish_reason": "stop"}]}),
            text[:-1] + ', "temperature": NaN}',
            json.dumps(["a list"]),
            None,
        ]
        chosen = spoiled[int(shape * len(spoiled))]
        if chosen is None:  # it announces more than it sends
            self.send(200, text[: len(text) // 2], {"Content-Length": str(len(text.encode()))})
            self.close_connection = True
        else:
            self.send(200, chosen)

    def completion(self, body):
        answer = self.judge.answer(body)
        if "prompt" in body:
            choice = answer if isinstance(answer, dict) else {"text": answer}
            prompt = len(body["prompt"].split())
        else:
            choice = answer if isinstance(answer, dict) else {"message": {"role": "assistant", "content": answer}}
            prompt = sum(len(message["content"].split()) for message in body["messages"])
        return {
            "id": "chatcmpl-scripted",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": f"{body['model']}-0613",
            "choices": [{"index": 0, "finish_reason": "stop", **choice}],
            "usage": {"prompt_tokens": prompt, "completion_tokens": 10, "total_tokens": prompt + 10},
        }

    def error(self, words):
        return json.dumps({"error": {"message": f"{words}, {self.headers['Authorization']}", "type": "scripted"}})

    def send(self, status, text, headers=None):
        data = text.encode()
        self.send_response(status)
        self.send_header("X-Your-Key", str(self.headers["Authorization"]))
        for name, value in {"Content-Type": "application/json", "Content-Length": len(data), **(headers or {})}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, *_):
        """Nothing: tests look at `asked`."""


FATES = {
    "answered": "answered",
    "429": "throttled",
    "5xx": "broken",
    "hang": "hanging",
    "reset": "reset",
    "malformed": "malformed",
    "down": "down",
    "rejected": "rejected",
    "404": "missing",
    "402": "unpaid",
    "307": "elsewhere",
    "unauthorized": "unauthorized",
}
