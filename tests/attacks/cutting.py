"""A bad line between a client and a service: a TCP proxy that forwards, and resets the connection after so many bytes."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterable

RESET = struct.pack("ii", 1, 0)


class Line:
    """Listens on `url`; what it forwards to may change, as a service that is started again does."""

    def __init__(
        self,
        target: str,
        *,
        cuts: Iterable[int] = (),
        at: int | None = None,
        then: Callable[[], str] | None = None,
        pause_at: int | None = None,
    ):
        """Cut whenever so many bytes went up in all; once `at` bytes did, go on to where `then()` says; or pause until told."""
        self.paused, self._go_on, self._pause_at = threading.Event(), threading.Event(), pause_at
        self._target, self._cuts, self._at, self._then = target, sorted(cuts), at, then
        self._up, self.made, self.cut = 0, 0, 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def went_up(self) -> int:
        return self._up

    def resume(self) -> None:
        self._go_on.set()

    def close(self) -> None:
        self._go_on.set()
        self._listening.close()
        for one in list(self._open):
            self._drop(one)

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            self.made += 1
            threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        host, port = self._target.removeprefix("http://").split(":")
        try:
            server = socket.create_connection((host, int(port)), timeout=5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        self._open |= {client, server}
        back = threading.Thread(target=self._forward, args=(server, client), kwargs={"up": False}, daemon=True)
        back.start()
        self._forward(client, server, up=True)
        back.join()

    def _forward(self, source: socket.socket, sink: socket.socket, *, up: bool) -> None:
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
                if up and self._counted(len(data)):
                    self._drop(source)
                    self._drop(sink)
                    return
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(source)
            self._drop(sink)

    def _counted(self, size: int) -> bool:
        """Count bytes that went up; tell whether the connection is to be cut now."""
        with self._lock:
            self._up += size
            if self._pause_at is not None and self._up >= self._pause_at:
                self._pause_at = None
                self.paused.set()
                self._go_on.wait()
            if self._at is not None and self._then is not None and self._up >= self._at:
                self._at = None
                self._target = self._then()
                return True
            if self._cuts and self._up >= self._cuts[0]:
                self._cuts.pop(0)
                self.cut += 1
                return True
        return False

    def _drop(self, one: socket.socket) -> None:
        self._open.discard(one)
        with contextlib.suppress(OSError):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            one.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads from it: while one does, closing has no effect
        one.close()
