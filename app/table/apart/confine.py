"""What a parse child gives up before it sees a byte of input. Linux.

- No environment, no descriptor but its one socket, and none to be had: `RLIMIT_NOFILE` 0 refuses every file and every socket.
- No network besides: the zygote leaves the network's namespace where it may (as root or where users may make namespaces).
- No file grows, no core is written, memory and processor time are bounded by the kernel (`RLIMIT_DATA`: what is allocated,
  where `RLIMIT_AS` would count what Arrow only reserves).
- No new privileges; other processes of the same user can't look into it, nor it into the service (`PR_SET_DUMPABLE`).
- It dies with the zygote.
"""

import ctypes
import os
import resource
from pathlib import Path
from typing import Final

CPU_SECONDS: Final = 3_600
_PDEATHSIG, _DUMPABLE, _NO_NEW_PRIVILEGES = 1, 4, 38
_NEW_NETWORK, _NEW_USER = 0x40000000, 0x10000000
_KILL = 9
_LIBC = ctypes.CDLL(None, use_errno=True)


def leave_the_network() -> bool:
    """Enter an empty network namespace; tell whether that was permitted. Only a process of one thread may try."""
    return any(_LIBC.unshare(flags) == 0 for flags in (_NEW_NETWORK, _NEW_NETWORK | _NEW_USER))


def confine(*, socket: int, parent: int, memory_bytes: int) -> None:
    """Give up everything but the descriptor `socket`, which becomes 0; OSError where the kernel does not do as promised."""
    _control(_PDEATHSIG, _KILL)
    if os.getppid() != parent:  # it died before that was set
        raise OSError
    _control(_DUMPABLE, 0)
    _control(_NO_NEW_PRIVILEGES, 1)
    os.environ.clear()
    os.dup2(socket, 0)
    os.closerange(1, max(int(one.name) for one in Path("/proc/self/fd").iterdir()) + 1)
    memory = resident_data() + memory_bytes
    for limit, value in (
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(limit, (value, value))


def resident_data() -> int:
    """Return the bytes of data that the process has mapped already, as `RLIMIT_DATA` counts them."""
    return int(Path("/proc/self/statm").read_bytes().split()[5]) * resource.getpagesize()


def _control(option: int, value: int) -> None:
    if _LIBC.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
