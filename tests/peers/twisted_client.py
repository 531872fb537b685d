"""Collects poems from servers, all at once, and prints them in the order of the arguments: twisted_client.py PORT..."""

import sys

from twisted.internet import defer, endpoints, error, protocol, task


class Listener(protocol.Protocol):
    def __init__(self):
        self.poem = b""
        self.ended = defer.Deferred()

    def dataReceived(self, data):
        self.poem += data

    def connectionLost(self, reason):
        if reason.check(error.ConnectionDone):
            self.ended.callback(self.poem)
        else:
            self.ended.errback(reason)


@defer.inlineCallbacks
def listen(reactor, port):
    server = endpoints.TCP4ClientEndpoint(reactor, "127.0.0.1", int(port))
    listener = yield endpoints.connectProtocol(server, Listener())
    poem = yield listener.ended
    return poem


@defer.inlineCallbacks
def collect(reactor, *ports):
    poems = yield defer.gatherResults([listen(reactor, port) for port in ports], consumeErrors=True)
    sys.stdout.buffer.write(b"".join(poems))


task.react(collect, sys.argv[1:])
