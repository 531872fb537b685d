"""Starts a program with listening sockets, as systemd does: activate.py NAMES|--by-number PROGRAM ARGUMENT...

NAMES is one name for each socket, with colons between. The sockets are at free ports, from file descriptor 3 on; with
--by-number there is one, and nothing in the environment says so.
"""

import os
import socket
import sys

names, program = sys.argv[1], sys.argv[2:]
count = 1 if names == "--by-number" else len(names.split(":"))
sockets = []
for _ in range(count):
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(16)
    sockets.append(listener)
# Out of the way first: a socket may be where another one goes.
high = [os.dup2(listener.fileno(), 100 + number) for number, listener in enumerate(sockets)]
for number, fd in enumerate(high):
    os.dup2(fd, 3 + number, inheritable=True)
    os.close(fd)
for variable in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
    os.environ.pop(variable, None)
if names != "--by-number":
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(count), LISTEN_FDNAMES=names)
os.execv(program[0], program)
