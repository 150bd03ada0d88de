"""What runs first inside the sandbox: sets the limits, gives up every right, starts the program.

It runs alone, with the standard library: nothing of tuneloop is inside.
"""

import json
import os
import resource
import sys


def main() -> None:
    """Read the limits from the first argument and become the program in the others."""
    limits = json.loads(sys.argv[1])
    if os.getuid() == 0:  # root is exempt from the limit on processes, so nobody stays root
        os.setgroups([])
        os.setresgid(limits["uid"], limits["uid"], limits["uid"])
        os.setresuid(limits["uid"], limits["uid"], limits["uid"])
    for name, value in (
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, limits["n_processes"]),
    ):
        resource.setrlimit(name, (value, value))
    # The soft limit ends a program by a signal of its own; the hard one those that ignore it.
    resource.setrlimit(resource.RLIMIT_CPU, (limits["cpu_s"], limits["cpu_s"] + 1))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606  # no shell is wanted


main()
