"""Collects poems and has them transformed: twisted_transform_client.py TRANSFORMER NAME PORT...

As clients 6 to 8 do, a poem that is not transformed stays as it was, and standard error says so.
"""

import sys

from twisted.internet import defer, endpoints, protocol, task
from twisted.protocols import basic


class Listener(protocol.Protocol):
    def __init__(self):
        self.poem = b""
        self.ended = defer.Deferred()

    def dataReceived(self, data):
        self.poem += data

    def connectionLost(self, reason):
        self.ended.callback(self.poem)


class Asker(basic.NetstringReceiver):
    def __init__(self):
        self.answer = defer.Deferred()

    def stringReceived(self, poem):
        self.answer.callback(poem)
        self.answer = None
        self.transport.loseConnection()

    def connectionLost(self, reason):
        if self.answer:
            self.answer.errback(reason)


def connect(reactor, port, peer):
    server = endpoints.TCP4ClientEndpoint(reactor, "127.0.0.1", int(port))
    return endpoints.connectProtocol(server, peer)


@defer.inlineCallbacks
def transformed(reactor, transformer, name, port):
    listener = yield connect(reactor, port, Listener())
    poem = yield listener.ended
    try:
        asker = yield connect(reactor, transformer, Asker())
        answer = asker.answer
        asker.sendString(name.encode() + b"." + poem)
        poem = yield answer
    except Exception as error:
        print(f"{name} failed: {error}", file=sys.stderr)
    return poem


@defer.inlineCallbacks
def main(reactor, transformer, name, *ports):
    poems = [transformed(reactor, transformer, name, port) for port in ports]
    poems = yield defer.gatherResults(poems, consumeErrors=True)
    sys.stdout.buffer.write(b"".join(poems))


task.react(main, sys.argv[1:])
