import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from plantgate.observe.tracing import no_span, tracing


def test_spans_reach_a_collector() -> None:
    bodies: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing to say."""

    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        try:
            address = f"http://127.0.0.1:{collector.server_port}/v1/traces"
            with tracing(address, 1.0, "line3", "1.2.3") as span, span("accept", {"plantgate.samples": 240}):
                pass
        finally:
            collector.shutdown()
            thread.join()
    assert len(bodies) == 1
    assert b"accept" in bodies[0]
    assert b"line3" in bodies[0]


def test_without_tracing_a_span_is_nothing() -> None:
    with no_span("accept", {}):
        pass
