"""A poem for one reader after the other: blocking_server.py FILE BYTES DELAY. The first line is the port."""

import socket
import sys
import time


def recite(poem, reader, chunk_bytes, delay):
    for start in range(0, len(poem), chunk_bytes):
        reader.sendall(poem[start : start + chunk_bytes])
        time.sleep(delay)


def main(path, chunk_bytes, delay):
    with open(path, "rb") as file:
        poem = file.read()
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        reader, _ = listener.accept()
        with reader:
            try:
                recite(poem, reader, chunk_bytes, delay)
            except OSError as error:
                print("a reader left:", error, file=sys.stderr)


main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
