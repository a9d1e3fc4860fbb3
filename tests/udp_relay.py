"""A UDP wire between two addresses that can be cut."""

import socket
import threading


class UdpRelay:
    """Whatever comes to its port goes on to one address, unless it is cut."""

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.1)
        self.port: int = self._socket.getsockname()[1]
        self.cut = False
        self._ended = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._ended = True
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while not self._ended:
            try:
                data = self._socket.recv(2048)
            except TimeoutError:
                continue
            except OSError:
                continue  # the other end is not there yet
            if not self.cut:
                self._socket.sendto(data, self._target)
