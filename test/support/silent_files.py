"""A FUSE server for tests: one file, "file", whose closes are not answered before a line comes on
standard input. Mounts itself on the directory given, needs root, ends with its standard input.

Prints "ready" once it is mounted, and "held" for each close that it leaves unanswered.
"""

import ctypes
import os
import select
import stat
import struct
import sys

LOOKUP, FORGET, GETATTR, OPEN, RELEASE, FLUSH, INIT, INTERRUPT, BATCH_FORGET = 1, 2, 3, 14, 18, 25, 26, 36, 42
OPENDIR, RELEASEDIR = 27, 29
ENOENT, ENODEV, ENOSYS = 2, 19, 38
ROOT, FILE = 1, 2
MNT_DETACH = 2

libc = ctypes.CDLL(None, use_errno=True)
directory = os.fsencode(sys.argv[1])
device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
options = b"fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other" % device
if libc.mount(b"silent", directory, b"fuse", 0, options) != 0:
    sys.exit("mount: " + os.strerror(ctypes.get_errno()))


def attributes(node):
    mode = stat.S_IFDIR | 0o755 if node == ROOT else stat.S_IFREG | 0o666
    return struct.pack("<6Q10I", node, 0, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 512, 0)


def answer(unique, body=b"", errno=0):
    try:
        os.write(device, struct.pack("<IiQ", 16 + len(body), -errno, unique) + body)
    except FileNotFoundError:
        pass  # Who asked is gone.


def handle(request, held):
    _, opcode, unique, node = struct.unpack_from("<IIQQ", request)
    if opcode == INIT:
        # Version 7.31, no features; times and sizes as small as they may be.
        answer(unique, struct.pack("<IIIIHHIIHHI", 7, 31, 65536, 0, 16, 12, 65536, 1, 0, 0, 0) + bytes(28))
    elif opcode == LOOKUP:
        if request[40:].rstrip(b"\0") == b"file":
            answer(unique, struct.pack("<4Q2I", FILE, 0, 0, 0, 0, 0) + attributes(FILE))
        else:
            answer(unique, errno=ENOENT)
    elif opcode == GETATTR:
        answer(unique, struct.pack("<QII", 0, 0, 0) + attributes(node))
    elif opcode in (OPEN, OPENDIR):
        answer(unique, struct.pack("<QII", 0, 0, 0))
    elif opcode in (RELEASE, RELEASEDIR):
        answer(unique)
    elif opcode == FLUSH:
        if held is None:
            answer(unique)
        else:
            held.append(unique)
            print("held", flush=True)
    elif opcode not in (FORGET, BATCH_FORGET, INTERRUPT):
        answer(unique, errno=ENOSYS)


def serve():
    held = []
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(device, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == device:
                try:
                    handle(os.read(device, 1 << 18), held)
                except OSError as error:
                    if error.errno == ENODEV:
                        return
                    if error.errno != ENOENT:
                        raise
            elif os.read(0, 100) == b"":
                return
            elif held is not None:
                for unique in held:
                    answer(unique)
                held = None


print("ready", flush=True)
serve()
libc.umount2(directory, MNT_DETACH)
