"""A poem for all readers at once: twisted_server.py FILE BYTES DELAY [abort]. The first line is the port.

With `abort` each reader is cut off in the middle, as by a crash.
"""

import sys

from twisted.internet import protocol, reactor


class Recital(protocol.Protocol):
    def connectionMade(self):
        self.left = self.factory.poem
        self.pending = None
        self.recite()

    def recite(self):
        self.pending = None
        factory = self.factory
        self.transport.write(self.left[: factory.chunk_bytes])
        self.left = self.left[factory.chunk_bytes :]
        if factory.aborts and len(self.left) < len(factory.poem) / 2:
            self.transport.abortConnection()
        elif self.left:
            self.pending = reactor.callLater(factory.delay, self.recite)
        else:
            self.transport.loseConnection()

    def connectionLost(self, reason):
        if self.pending:
            self.pending.cancel()


def main(path, chunk_bytes, delay, aborts=""):
    factory = protocol.ServerFactory.forProtocol(Recital)
    with open(path, "rb") as file:
        factory.poem = file.read()
    factory.chunk_bytes = int(chunk_bytes)
    factory.delay = float(delay)
    factory.aborts = aborts == "abort"
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    print(port.getHost().port, flush=True)
    reactor.run()


main(*sys.argv[1:])
