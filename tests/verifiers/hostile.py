"""Programs that try to get out of the sandbox, to take more than they may, or to stay.

Each prints "escaped" where it got what it came for. `$NAME` stands for what a test puts there: a port and sockets that
listen outside, a file with a secret, a folder to write to, the project's folder, the process that runs the tests.
"""

from __future__ import annotations

from typing import Final

_TRY: Final = """
def attempt(what, *arguments):
    try:
        print("escaped", what, arguments, what(*arguments))
    except Exception as error:
        print("contained", type(error).__name__, error)
"""
_CALLS: Final = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)

def call(number, *arguments):
    result = libc.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), "denied")
    return result
"""

PROCESSES: Final = {
    "fork bomb": """
import os
while True:
    try:
        os.fork()
    except OSError:
        break
    print("escaped")
""",
    "fork by system call": _TRY
    + _CALLS
    + """
import platform
fork, vfork, clone = (57, 58, 56) if platform.machine() == "x86_64" else (220, 220, 220)
attempt(call, fork, 17, 0, 0, 0, 0)
attempt(call, clone, 17, 0, 0, 0, 0)
attempt(call, 435, ctypes.create_string_buffer(88), 88)
if platform.machine() == "x86_64":
    attempt(call, 0x40000000 + 57)
""",
    "subprocess, spawn and multiprocessing": _TRY
    + """
import multiprocessing, os, subprocess
attempt(subprocess.run, ["/python/bin/python", "-c", ""])
attempt(os.posix_spawn, "/python/bin/python", ["python", "-c", ""], {})
attempt(multiprocessing.Process(target=print).start)
attempt(os.popen, "true")
""",
    "daemon left behind": """
import os, time
try:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1000)
    print("escaped")
except OSError:
    os.setsid()
""",
    "many threads": """
import threading
started = 0
try:
    while True:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        started += 1
except RuntimeError:
    if started > 64:
        print("escaped", started)
""",
    "many bare threads": _CALLS
    + """
import platform
clone = 56 if platform.machine() == "x86_64" else 220
flags = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000  # a thread, all sharing one stack: they crash or stay few
stack = ctypes.create_string_buffer(1 << 16)
for started in range(100_000):
    try:
        call(clone, flags, ctypes.addressof(stack) + 60_000, 0, 0, 0)
    except OSError:
        break
if started > 64:
    print("escaped", started)
""",
    "another program in its place": """
import os
os.execv("/python/bin/python", ["/python/bin/python", "-c", "while True: pass"])
""",
    "kill everyone": """
import os, signal
for target in (-1, os.getppid(), $PID, 1):
    try:
        os.kill(target, 9)
    except OSError:
        pass
try:
    os.kill($PID, 0)
    print("escaped")
except ProcessLookupError:
    pass
os.killpg(0, 9)
""",
    "ptrace and foreign memory": _TRY
    + _CALLS
    + """
import os, platform
x86 = platform.machine() == "x86_64"
attempt(call, 101 if x86 else 117, 16, os.getppid(), 0, 0)
attempt(call, 101 if x86 else 117, 0, 0, 0, 0)
attempt(call, 310 if x86 else 270, os.getppid(), 0, 0, 0, 0, 0)
attempt(call, 438, 0, 0, 0)
""",
}

FILES: Final = {
    "read what is not its own": _TRY
    + """
import os
for path in ("/etc/shadow", "/etc/passwd", "/root", "/home", "$SECRET", "$PROJECT/pyproject.toml", "/proc",
             "/proc/self/environ", "/proc/$PID/environ", "/sys", "/run", "/var", "/boot", "/dev/mem", "/dev/tty"):
    attempt(os.stat, path)
    attempt(os.listdir, path)
    attempt(lambda: open(path).read())
""",
    "write where it may not": _TRY
    + """
import os, sys
attempt(open, "$FOLDER/written", "w")
for folder in ("/", "/dev", "/usr", "/usr/lib", "/python", "/python/bin", os.path.dirname(os.__file__), "/lib", "/etc"):
    attempt(open, folder + "/written", "w")
    attempt(os.chmod, folder, 0o777)
attempt(open, os.__file__, "a")
attempt(os.unlink, os.__file__)
attempt(os.truncate, sys.executable, 0)
""",
    "write to a folder of the same name": """
import os
os.makedirs("$FOLDER")
open("$FOLDER/written", "w").write("mine")
""",
    "links that lead out": _TRY
    + """
import os
for number, target in enumerate(("/etc/shadow", "$SECRET", "../../../../etc/shadow", "/proc/self/root/etc/shadow")):
    os.symlink(target, f"/tmp/link{number}")
    attempt(lambda: open(f"/tmp/link{number}").read())
    attempt(lambda: open(f"/tmp/link{number}", "w"))
attempt(os.link, os.__file__, "/tmp/hard")
attempt(os.open, "/..", os.O_RDONLY | os.O_DIRECTORY) if os.listdir("/..") != os.listdir("/") else None
""",
    "descriptors left open": """
import os
for fd in range(3, 4096):
    for use in (lambda: os.read(fd, 100), lambda: os.write(fd, b"x"), lambda: os.listdir(fd), lambda: os.fstat(fd)):
        try:
            print("escaped", fd, use())
        except OSError:
            pass
""",
    "standard input": """
import os, sys
if sys.stdin.read() != "its own input" or os.read(0, 1):
    print("escaped")
try:
    os.write(0, b"x" * 10_000)
    print("escaped: written")
except OSError:
    pass
""",
    "mount and namespaces": _TRY
    + _CALLS
    + """
import os, platform
x86 = platform.machine() == "x86_64"
attempt(call, 165 if x86 else 40, b"none", b"/tmp", b"tmpfs", 0, 0)
attempt(call, 166 if x86 else 39, b"/tmp", 0)
attempt(call, 272 if x86 else 97, 0x10000000)
attempt(call, 272 if x86 else 97, 0x20000)
attempt(call, 308 if x86 else 268, 0, 0)
attempt(os.chroot, "/tmp")
attempt(call, 428, -100, b"/", 0)
attempt(call, 430, b"tmpfs", 0)
attempt(os.mknod, "/tmp/disk", 0o60666, os.makedev(8, 0))
""",
    "rights": _TRY
    + _CALLS
    + """
import os, resource
for change in (os.setuid, os.setgid, os.seteuid):
    attempt(change, 0)
attempt(os.setgroups, [0])
attempt(os.setresuid, 0, 0, 0)
attempt(os.sethostname, "mine") if hasattr(os, "sethostname") else None
attempt(os.nice, -10)
for limit in ("AS", "CPU", "NPROC", "NOFILE", "FSIZE"):
    attempt(resource.setrlimit, getattr(resource, "RLIMIT_" + limit), (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
if 0 in (os.getuid(), os.geteuid(), os.getgid(), *os.getgroups()):
    print("escaped", os.getresuid())
""",
    "doors of the kernel": _TRY
    + _CALLS
    + """
import platform
x86 = platform.machine() == "x86_64"
attempt(call, 425, 8, ctypes.create_string_buffer(120))
attempt(call, 321 if x86 else 280, 5, ctypes.create_string_buffer(128), 128)
attempt(call, 298 if x86 else 241, ctypes.create_string_buffer(128), 0, -1, -1, 0)
attempt(call, 323 if x86 else 282, 0)
attempt(call, 248 if x86 else 217, b"user", b"a", b"b", 1, -3)
attempt(call, 250 if x86 else 219, 0, -3, 1)
""",
}

NETWORK: Final = {
    "TCP to the host and beyond": _TRY
    + """
import socket, urllib.request
attempt(socket.create_connection, ("127.0.0.1", $PORT), 1)
attempt(socket.create_connection, ("::1", $PORT), 1)
attempt(socket.create_connection, ("192.0.2.1", 80), 1)
attempt(urllib.request.urlopen, "http://127.0.0.1:$PORT/", None, 1)
attempt(socket.getaddrinfo, "example.org", 80)
""",
    "sockets of every kind": _TRY
    + """
import socket
for family in (2, 10, 16, 17, 38, 40, 44):  # IPv4, IPv6, netlink, packet, crypto, vsock, XDP
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
        attempt(socket.socket, family, kind)
""",
    "unix sockets": _TRY
    + """
import socket
for address in ("$SOCKET", "\\0$ABSTRACT", "/run/docker.sock", "/var/run/dbus/system_bus_socket"):
    attempt(socket.socket(socket.AF_UNIX).connect, address)
""",
}

RESOURCES: Final = {
    "sleep forever": "import time\ntime.sleep(1e6)",
    "stop itself": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
    "busy loop": "while True: pass",
    "busy loop in C": "10 ** 10 ** 8",
    "deaf to signals": """
import signal
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
while True:
    pass
""",
    "print without end": "while True: print('x' * 10_000, flush=True)",
    "errors without end": "import sys\nfor _ in range(100): sys.stderr.write('x' * 10_000_000)",
    "memory": """
held = []
try:
    while True:
        held.append(bytearray(1 << 20))
except MemoryError:
    if len(held) > 200:
        print("escaped", len(held))
""",
    "memory of other kinds": _CALLS
    + """
import mmap, platform
x86 = platform.machine() == "x86_64"
maps = []
try:
    while len(maps) <= 200:
        maps.append(mmap.mmap(-1, 1 << 20, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS))
        maps[-1].write(b"x" * (1 << 20))
    print("escaped: maps")
except (OSError, MemoryError):
    maps.clear()
for number in ((319 if x86 else 279, b"m", 0), (447, 0), (29 if x86 else 194, 0, 1 << 20, 0o1600),
               (68 if x86 else 186, 0, 0o1600), (64 if x86 else 190, 0, 1, 0o1600)):
    try:
        print("escaped", number, call(*number))
    except OSError:
        pass
""",
    "fill the scratch folder": """
import os
written = 0
for number in range(100):
    try:
        with open(f"/tmp/{number}", "wb", buffering=0) as file:
            while True:
                written += file.write(b"x" * (1 << 20))
    except OSError:
        pass
if written > 20 << 20:
    print("escaped", written)
""",
    "fill /dev/shm": """
try:
    open("/dev/shm/full", "wb").write(b"x" * (1 << 30))
    print("escaped")
except OSError:
    pass
""",
    "files without number": """
for number in range(10_000_000):
    open(f"/tmp/{number}", "w").close()
""",
    "descriptors without number": """
import os
try:
    for opened in range(100_000):
        os.dup(1)
except OSError:
    if opened > 200:
        print("escaped", opened)
""",
    "a crash": "import ctypes\nctypes.string_at(0)",
    "recursion": "import sys\nsys.setrecursionlimit(10**9)\ndef f(): return f() + [f]\nf()",
    "recursion in C": "import sys\nsys.setrecursionlimit(10**9)\nx = []\nfor _ in range(10**6): x = [x]\nrepr(x)",
    "source nested too deeply": "x = " + "(" * 100_000 + ")" * 100_000,
    "source that grows when compiled": "x = " + "-" * 200_000 + "1",
    "source that is no text": "\0\ud800",
    "exit in every way": "import os, threading\nthreading.Timer(0, os._exit, [0]).start()\nos.abort()",
}

HOSTILE: Final = PROCESSES | FILES | NETWORK | RESOURCES
