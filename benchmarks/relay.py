"""A bare relay of gRPC for Python, as a peer of `benchmarks/hop.py`: what a hop costs that does nothing.

It takes `ProfilesService/Export` as bytes, puts them into a queue, answers, and sends them on from a few
threads: no decoding, no policy, no bound, no counting. What otelprof costs beside this is its own.

    python benchmarks/hop.py --policy --sizes small --peer "python benchmarks/relay.py"
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Thread

import grpc
from hop import METHOD, UNLIMITED

CONSUMERS = 10
# A response with an empty partial_success.
ACCEPTED = b"\x0a\x00"


def main() -> None:
    """Relay until interrupted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=14317)
    parser.add_argument("--sink-port", type=int, default=14319)
    parser.add_argument("--compression", choices=("none", "gzip"), default="none", help="of what is sent on")
    options = parser.parse_args()
    waiting: SimpleQueue[bytes] = SimpleQueue()
    compression = grpc.Compression.Gzip if options.compression == "gzip" else grpc.Compression.NoCompression
    channel = grpc.insecure_channel(f"127.0.0.1:{options.sink_port}", UNLIMITED, compression=compression)
    send = channel.unary_unary(METHOD, None, None)

    def forward() -> None:
        while True:
            send(waiting.get())

    def export(body: bytes, _context: grpc.ServicerContext) -> bytes:
        waiting.put(body)
        return ACCEPTED

    for _ in range(CONSUMERS):
        Thread(target=forward, daemon=True).start()
    server = grpc.server(ThreadPoolExecutor(64), options=UNLIMITED)
    handlers = {"Export": grpc.unary_unary_rpc_method_handler(export)}
    service = METHOD.split("/")[1]
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    server.add_insecure_port(f"127.0.0.1:{options.port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
