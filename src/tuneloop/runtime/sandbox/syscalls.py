"""The filter of system calls that bubblewrap loads: what namespaces and limits do not hold.

Some memory belongs to no process (System V segments, memory files) and so to no limit; a user
namespace made inside gives rights back; virtual-machine sockets know no network namespace; and
what no answer needs (io_uring, tracing, keys, mounts) is the kernel's softest part.
"""

from __future__ import annotations

import platform
import struct

ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000
EPERM, ENOSYS, EAFNOSUPPORT = 1, 38, 97
_LOAD, _EQUAL, _AT_LEAST, _ANY_OF, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _ARG_0 = 0, 4, 16  # offsets in the kernel's record, little-endian
NEW_NAMESPACES = 0x7E020000
FAMILIES = (1, 2, 10)  # UNIX, INET, INET6
X32 = 0x40000000

# Names as the kernel's; numbers from its tables for each machine.
DENIED = {
    "x86_64": {
        "shmget": 29, "shmat": 30, "shmctl": 31, "semget": 64, "msgget": 68, "ptrace": 101,
        "pivot_root": 155, "chroot": 161, "acct": 163, "mount": 165, "umount2": 166, "swapon": 167,
        "reboot": 169, "init_module": 175, "delete_module": 176, "quotactl": 179, "kexec_load": 246,
        "add_key": 248, "request_key": 249, "keyctl": 250, "unshare": 272,
        "perf_event_open": 298, "fanotify_init": 300, "name_to_handle_at": 303,
        "open_by_handle_at": 304, "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311,
        "kcmp": 312, "finit_module": 313, "memfd_create": 319, "bpf": 321, "userfaultfd": 323,
    },
    "aarch64": {
        "umount2": 39, "mount": 40, "pivot_root": 41, "chroot": 51, "quotactl": 60, "acct": 89,
        "unshare": 97, "kexec_load": 104, "init_module": 105, "delete_module": 106, "ptrace": 117,
        "reboot": 142, "msgget": 186, "semget": 190, "shmget": 194, "shmctl": 195, "shmat": 196,
        "add_key": 217, "request_key": 218, "keyctl": 219, "swapon": 224,
        "perf_event_open": 241, "fanotify_init": 262, "name_to_handle_at": 264,
        "open_by_handle_at": 265, "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271,
        "kcmp": 272, "finit_module": 273, "memfd_create": 279, "bpf": 280, "userfaultfd": 282,
    },
}  # fmt: skip
EVERYWHERE = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "mount_setattr": 442, "memfd_secret": 447,
}  # fmt: skip
MACHINES = {"x86_64": (0xC000003E, 56, 41), "aarch64": (0xC00000B7, 220, 198)}
"""Machine → its audit number, and the numbers of clone and socket."""
CLONE3 = 435


def known_machine() -> bool:
    """Whether there is a filter for this machine."""
    return platform.machine() in MACHINES


def seccomp_filter(machine: str | None = None) -> bytes:
    """Return the filter as a classic BPF program, as `bwrap --seccomp` reads it."""
    machine = machine or platform.machine()
    arch, clone, socket = MACHINES[machine]
    program = [_step(_LOAD, _ARCH), _step(_EQUAL, arch, 1, 0), _step(_RETURN, KILL)]
    program.append(_step(_LOAD, _NUMBER))
    if machine == "x86_64":
        program += [_step(_AT_LEAST, X32, 0, 1), _step(_RETURN, ERRNO | ENOSYS)]
    # Without clone3, whose flags lie in memory, the C library takes clone.
    program += [_step(_EQUAL, CLONE3, 0, 1), _step(_RETURN, ERRNO | ENOSYS)]
    for number in sorted({**DENIED[machine], **EVERYWHERE}.values()):
        program += [_step(_EQUAL, number, 0, 1), _step(_RETURN, ERRNO | EPERM)]
    program += [
        _step(_EQUAL, clone, 0, 4),
        _step(_LOAD, _ARG_0),
        _step(_ANY_OF, NEW_NAMESPACES, 0, 1),
        _step(_RETURN, ERRNO | EPERM),
        _step(_RETURN, ALLOW),
        _step(_EQUAL, socket, 0, 3 + len(FAMILIES)),
        _step(_LOAD, _ARG_0),
        *(_step(_EQUAL, family, len(FAMILIES) - i, 0) for i, family in enumerate(FAMILIES)),
        _step(_RETURN, ERRNO | EAFNOSUPPORT),
        _step(_RETURN, ALLOW),
        _step(_RETURN, ALLOW),
    ]
    return b"".join(program)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """Return one instruction; jumps count the instructions they leave out."""
    return struct.pack("=HBBI", code, if_true, if_false, value)
