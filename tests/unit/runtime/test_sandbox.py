"""Code nobody has read: each way out is tried for real, and leads nowhere."""

import os
import socket
import struct
import threading
import time

import psutil
import pytest

from tuneloop.runtime import sandbox
from tuneloop.runtime.sandbox import Limits, run_python, syscalls
from tuneloop.runtime.sandbox import run as running

contained = pytest.mark.skipif(
    sandbox.why_not() is not None, reason=f"nothing can be contained here: {sandbox.why_not()}"
)
SHORT = Limits(time_s=5)


def run(code, limits=SHORT, stdin=""):
    return run_python({"main.py": code}, "main.py", stdin=stdin, limits=limits)


@contained
def test_a_program_runs_and_returns_what_it_printed():
    ran = run("import sys; print(sys.stdin.read().upper())", stdin="hello")
    assert (ran.ending, ran.exit_code, ran.stdout) == ("ok", 0, "HELLO\n")


@contained
def test_an_error_is_reported():
    ran = run("raise ValueError('no')")
    assert (ran.ending, ran.exit_code) == ("failed", 1)
    assert "ValueError: no" in ran.stderr


@contained
def test_an_endless_loop_ends():
    began = time.monotonic()
    ran = run("while True: pass", Limits(time_s=1))
    assert ran.ending == "time"
    assert time.monotonic() - began < 60


@contained
@pytest.mark.parametrize("ignore", [False, True])
def test_a_fork_bomb_is_held_and_leaves_nothing(ignore):
    line = "try: os.fork()\n  except OSError: pass" if ignore else "os.fork()"
    before = len(psutil.pids())
    ran = run(f"import os\nwhile True:\n  {line}", Limits(time_s=2, n_processes=16))
    assert ran.ending in ("processes", "failed", "time")
    assert "Resource temporarily unavailable" in ran.stderr or ran.ending in ("processes", "time")
    time.sleep(0.2)
    assert len(psutil.pids()) < before + 12


@contained
@pytest.mark.parametrize(
    "code",
    [
        "x = bytearray(10 * 1024**3)",
        "x = []\nwhile True: x.append(bytearray(2**20))",
        # Several processes, each below the limit of one.
        "import os, time\nfor _ in range(8):\n  if os.fork() == 0: break\n"
        "x = bytearray(100 * 2**20)\nx[::4096] = b'x' * len(x[::4096])\ntime.sleep(30)",
    ],
)
def test_ten_gigabytes_are_refused(code):
    assert run(code, Limits(time_s=20, memory_mib=256)).ending == "memory"


@contained
@pytest.mark.parametrize(
    "path", ["/usr/x", "/x", "/etc/x", "/sandbox/main.py", "/dev/x", "/proc/x"]
)
def test_nothing_outside_tmp_can_be_written(path):
    ran = run(f"open({path!r}, 'w').write('x')")
    assert ran.ending == "failed"
    assert "Error" in ran.stderr


@contained
def test_this_machines_files_are_out_of_sight(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    for path in (secret, "/etc/passwd", os.getcwd(), f"/proc/{os.getpid()}/environ"):
        ran = run(f"import os; print(os.listdir({str(path)!r}) or open({str(path)!r}).read())")
        assert ran.ending == "failed", path


@contained
def test_what_it_writes_in_tmp_is_bounded_and_gone_afterwards():
    assert run("open('/tmp/a', 'w').write('a' * 2**26)", Limits(file_mib=4)).ending == "failed"
    many = "for i in range(100): open(f'/tmp/{i}', 'w').write('a' * 2**20)"
    assert run(many, Limits(file_mib=4)).ending == "failed"
    run("open('/tmp/left', 'w').write('x')")
    assert "left" in run("open('/tmp/left')").stderr


@contained
def test_there_is_no_network_not_even_this_machine():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        reached = []
        threading.Thread(target=lambda: reached.append(server.accept()), daemon=True).start()
        for host in ("127.0.0.1", "1.1.1.1"):
            ran = run(f"import socket; socket.create_connection(({host!r}, {port}), timeout=1)")
            assert ran.ending in ("failed", "time"), host
        assert not reached


@contained
def test_abstract_sockets_of_this_machine_are_out_of_reach():
    name = f"\0tuneloop-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        ran = run(f"import socket; socket.socket(socket.AF_UNIX).connect({name!r})")
        assert ran.ending == "failed"


@contained
def test_the_environment_is_empty(monkeypatch):
    monkeypatch.setenv("TUNELOOP_TEST_SECRET", "s3cret")
    ran = run("import os; print(sorted(os.environ))")
    assert ran.ending == "ok"
    assert "SECRET" not in ran.stdout
    everything = "import glob\nfor f in glob.glob('/proc/[0-9]*/environ'):\n"
    everything += "  try: print(open(f).read())\n  except OSError: pass"
    assert "s3cret" not in run(everything).stdout


@contained
def test_a_daemon_does_not_outlive_its_program():
    mark = f"tuneloop-daemon-{os.getpid()}"
    code = (
        "import os, time\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0:\n"
        f"    os.execv('/proc/self/exe', ['{mark}', '-c', 'import time; time.sleep(60)'])\n"
        "  os._exit(0)\ntime.sleep(0.3); print('done')"
    )
    assert run(code).stdout == "done\n"
    time.sleep(0.3)
    alive = []
    for process in psutil.process_iter():
        try:
            alive += [process.pid] if mark in process.cmdline() else []
        except psutil.Error:
            pass
    assert not alive


@contained
def test_it_has_no_rights_and_sees_no_other_process():
    ran = run(
        "import os\nprint(os.getuid())\n"
        "print([l.split()[1] for l in open('/proc/self/status') if l.startswith('CapEff')])\n"
        "print([l.split()[1] for l in open('/proc/self/status') if l.startswith('NoNewPrivs')])\n"
        f"try: os.kill({os.getpid()}, 0); print('seen')\n"
        "except OSError: print('unseen')"
    )
    uid, rights, no_new, seen = ran.stdout.splitlines()
    assert int(uid) != 0
    assert rights == "['0000000000000000']"
    assert no_new == "['1']"
    assert seen == "unseen" or os.getpid() < 10


@contained
def test_output_is_bounded():
    ran = run("while True: print('x' * 1000)", Limits(time_s=20, output_bytes=10_000))
    assert ran.ending == "output"
    assert len(ran.stdout) <= 10_000


@contained
def test_no_file_of_ours_is_open_inside(tmp_path):
    kept = (tmp_path / "ours").open("w")
    os.set_inheritable(kept.fileno(), True)
    ran = run(
        "import os\nfor n in os.listdir('/proc/self/fd'):\n"
        "  try: print(os.readlink(f'/proc/self/fd/{n}'))\n  except OSError: pass"
    )
    assert "ours" not in ran.stdout
    kept.close()


LIBC = "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"


@contained
@pytest.mark.parametrize("flags", [0x10000000, 0x20000, 0x20000000, 0x40000000])
def test_no_namespace_is_made_inside(flags):
    code = f"print(libc.unshare({flags}), libc.syscall(56, {flags} | 17, 0, 0, 0, 0))"
    assert run(LIBC + code).stdout == "-1 -1\n"


@contained
@pytest.mark.parametrize(
    "code",
    [
        "fd = os.memfd_create('x')",  # memory that is in no process's count
        "assert libc.shmget(0, 2**20, 0o1600) >= 0",
        "assert libc.syscall(425, 8, ctypes.create_string_buffer(256)) >= 0",  # io_uring
        "import socket; socket.socket(40, socket.SOCK_STREAM)",  # vsock
        "import socket; socket.socket(16, socket.SOCK_RAW)",  # netlink
    ],
)
def test_what_no_limit_holds_is_refused(code):
    ran = run(LIBC + code)
    assert ran.ending == "failed"
    assert "Error" in ran.stderr


@contained
def test_what_answers_need_still_works():
    ran = run(
        "import threading, subprocess, sys, multiprocessing.shared_memory as m\n"
        "thread = threading.Thread(target=print, args=('thread',)); thread.start(); thread.join()\n"
        "print(subprocess.run([sys.executable, '-c', 'print(1)'], capture_output=True).stdout)\n"
        "held = m.SharedMemory(create=True, size=100); held.unlink()"
    )
    assert (ran.ending, ran.stdout) == ("ok", "thread\nb'1\\n'\n"), ran.stderr


@contained
def test_a_program_that_kills_itself_has_failed_not_run_out_of_time():
    assert run("import os; os.kill(os.getpid(), 9)").ending == "failed"


def test_the_filter_is_written_for_both_machines_and_ends_in_a_verdict():
    for machine in syscalls.MACHINES:
        program = syscalls.seccomp_filter(machine)
        assert len(program) % 8 == 0
        code, *_, value = struct.unpack("=HBBI", program[-8:])
        assert (code, value) == (0x06, syscalls.ALLOW)
        steps = [struct.unpack("=HBBI", program[i : i + 8]) for i in range(0, len(program), 8)]
        for place, (code, yes, no, _) in enumerate(steps):
            assert code in (0x20, 0x06) or place + 1 + max(yes, no) < len(steps)


def test_without_a_filter_nothing_is_run(monkeypatch):
    monkeypatch.setattr(running, "known_machine", lambda: False)
    running.why_not.cache_clear()
    try:
        assert "no filter of system calls" in str(running.why_not())
    finally:
        running.why_not.cache_clear()


def test_without_a_sandbox_nothing_is_run(monkeypatch):
    monkeypatch.setattr(running, "find_bwrap", lambda: None)
    running.why_not.cache_clear()
    try:
        assert "bubblewrap is not installed" in str(running.why_not())
        with pytest.raises(RuntimeError, match="not installed"):
            run("print(1)")
    finally:
        running.why_not.cache_clear()
