"""Free TCP ports for servers that must come back on the same port after a kill."""

import random
import socket

# Below the range Linux takes outgoing connections' ports from (32768-60999): while a killed server is down, no
# client's own connection can land on its port and keep it from coming back.
LOWEST_PORT = 15_000
HIGHEST_PORT = 32_000


def free_ports(count: int) -> list[int]:
    """Return `count` different ports of 127.0.0.1 that nothing listens on now."""
    candidates = random.SystemRandom().sample(range(LOWEST_PORT, HIGHEST_PORT), HIGHEST_PORT - LOWEST_PORT)
    found: list[int] = []
    for port in candidates:
        if len(found) == count:
            break
        if _is_free(port):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    # Milvus listens on every interface, so a port is free only when it is free on all of them.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True
