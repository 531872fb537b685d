"""Transforms by netstring, as Part 12's server has them: twisted_transformer.py [deaf]. The first line is the port.

With `deaf` every request is closed on without an answer, as one is that fails.
"""

import sys

from twisted.internet import protocol, reactor
from twisted.protocols import basic


class Transformer(basic.NetstringReceiver):
    def stringReceived(self, request):
        name, dot, poem = request.partition(b".")
        if dot and name == b"cummingsify" and not self.factory.is_deaf:
            self.sendString(poem.lower())
        self.transport.loseConnection()


def main(mode=""):
    factory = protocol.ServerFactory.forProtocol(Transformer)
    factory.is_deaf = mode == "deaf"
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    print(port.getHost().port, flush=True)
    reactor.run()


main(*sys.argv[1:])
