"""A TCP proxy on 127.0.0.1 between sluice and a server, which a test cuts."""

import socket
import struct
import threading

from lib.machine import free_port
from lib.waiting import Changes


class Proxy:
    """Forwards to 127.0.0.1:`target`. Listens on `port` or a free one."""

    def __init__(self, target, port=None):
        self.target = target
        self.port = port or free_port()
        self.changes = Changes()
        self.connections = 0   # accepted so far
        self.broken = 0        # by `cut_after`
        self.sent = 0          # bytes that came from the server
        self._left = None      # bytes from the server until all is cut; None: never
        self._pairs = []
        self._listener = None
        self.listen()

    def listen(self):
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def refuse(self):
        """From now on connection refused, and all connections are reset."""
        listener, self._listener = self._listener, None
        if listener:
            listener.shutdown(socket.SHUT_RDWR)  # wakes accept
            listener.close()
        self._break()

    close = refuse

    def cut_after(self, size):
        """Once the server has sent `size` bytes more, in the middle of whatever it is: resets all
        connections. New ones work."""
        with self.changes:
            self._left = size

    def _break(self):
        with self.changes:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                try:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target), 10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.changes:
                self.connections += 1
                self._pairs.append((client, server))
            for source, sink, counts in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._forward, args=(source, sink, counts),
                                 daemon=True).start()

    def _take(self, data):
        """How much of it may pass, and whether all breaks after it."""
        with self.changes:
            self.sent += len(data)
            if self._left is None:
                return data, False
            passes = data[:self._left]
            self._left -= len(passes)
            if self._left:
                return passes, False
            self._left = None
            self.broken += 1
            return passes, True

    def _forward(self, source, sink, counts):
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                data, breaks = self._take(data) if counts else (data, False)
                sink.sendall(data)
                if breaks:
                    self._break()
                    break
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()
