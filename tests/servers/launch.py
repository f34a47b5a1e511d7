"""Run a command that dies with the process that started it, however that ends (kill -9 included).

Started as a script with the parent's pid and the command; replaces itself with the command, so the pid stays. On
systems without prctl the command just runs, and only an orderly end of the tests stops it.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Tie this process's life to the parent named first, then become the command."""
    parent_pid, command = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent may have died before prctl took hold; then nobody would ever send the signal.
        if os.getppid() != parent_pid:
            sys.exit(f"launch: process {parent_pid}, which asked for {command[0]}, is gone")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
