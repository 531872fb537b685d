"""A poem server as the tutorial teaches it, on Twisted.

    python3 server.py PORT FILE [BYTES MILLISECONDS]
    python3 server.py transform PORT
"""

import sys

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.basic import NetstringReceiver


class Recite(Protocol):
    def connectionMade(self):
        poem, step, pause = self.factory.poem, self.factory.step, self.factory.pause
        if not step:
            self.transport.write(poem)
            self.transport.loseConnection()
            return
        self.left = poem
        self.timer = None
        self.say(step, pause)

    def say(self, step, pause):
        self.transport.write(self.left[:step])
        self.left = self.left[step:]
        if self.left:
            self.timer = reactor.callLater(pause, self.say, step, pause)
        else:
            self.timer = None
            self.transport.loseConnection()

    def connectionLost(self, reason):
        if getattr(self, "timer", None):
            self.timer.cancel()


class Transform(NetstringReceiver):
    def stringReceived(self, request):
        name, _, poem = request.partition(b".")
        if name == b"cummingsify":
            self.sendString(poem.decode("utf-8").lower().encode("utf-8"))
        self.transport.loseConnection()


factory = Factory()
if sys.argv[1] == "transform":
    factory.protocol, port = Transform, int(sys.argv[2])
else:
    factory.protocol, port = Recite, int(sys.argv[1])
    with open(sys.argv[2], "rb") as file:
        factory.poem = file.read()
    factory.step = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    factory.pause = int(sys.argv[4]) / 1000 if len(sys.argv) > 4 else 0
# Twisted's own default of 50 leaves readers hanging for ever when many come at once.
reactor.listenTCP(port, factory, backlog=4096, interface="127.0.0.1")
reactor.run()
