"""A seqbus client in Python 3, written from docs/protocol.md alone; "(3)" below is section 3 of that page.

Standard library only, one blocking socket. Calls name opcodes: request(SUBSCRIBE, {"pattern": "a.>"}).
"""

import argparse, array, collections, fcntl, json, os, socket, struct

HELLO, OPEN_TOPIC, CLOSE_TOPIC, SUBSCRIBE, UNSUBSCRIBE, SYNC, NOOP, MESSAGE = *range(1, 8), 0x10  # (4)
RETAIN, CLEAR_RETAINED = 0x20, 0x21
WELCOME, ACK, ERROR, TOPIC, SENDER, SENDER_GONE, GAP, GOODBYE, REVOKED, POLICY_CHANGED = range(0x80, 0x8a)
BYTES, TEXT, JSON, MSGPACK = range(4)  # encodings: the two lowest flags of MESSAGE
LARGE, RETAINED, FDS_ON_LANE, FDS_WITHHELD, FATAL, FD_LANE = 0x04, 0x08, 0x40, 0x80, 0x01, 0x01
PACKET_BYTES_MAX, BODY_BYTES_MAX, FDS_MAX = 65536, 65520, 253
HEADER = struct.Struct("<IBBBBII")  # bytes, opcode, flags, fd count, detail, id, origin (3)
LANE_RECORD = struct.Struct("<II")  # sequence, fd count (7)
KEYS = {  # what the body of each frame from the broker must hold; more than that is ignored
    WELCOME: dict(protocol=int, features=int, connection=int, uid=int, gid=int, pid=int, software=str),
    ACK: {}, ERROR: dict(status=int, message=str), TOPIC: dict(topic=str), GAP: dict(count=int, reason=int),
    SENDER: dict(uid=int, gid=int, pid=int, groups=list), SENDER_GONE: {}, POLICY_CHANGED: {},
    GOODBYE: dict(status=int, message=str), REVOKED: dict(message=str, action=str, topic=str)}
ANSWER_KEYS = {  # and what the ACK of each request must hold
    OPEN_TOPIC: dict(topic=int, sendFds=bool), SUBSCRIBE: dict(subscription=int), HELLO: KEYS[WELCOME],
    UNSUBSCRIBE: {}, CLEAR_RETAINED: dict(cleared=bool), SYNC: dict.fromkeys("published matched delivered dropped denied lostLater superseded".split(), int)}
NOTICES = GAP, GOODBYE, REVOKED, POLICY_CHANGED
ALLOWED_FLAGS = dict.fromkeys(KEYS, 0) | {MESSAGE: 0x03 | LARGE | RETAINED | FDS_ON_LANE | FDS_WITHHELD, ERROR: FATAL}
CONSTANTS = {0xc0: None, 0xc2: False, 0xc3: True}  # msgpack; below, the numbers and lengths behind a byte
FORMS = {0xcc + i: ("number", f">{form}") for i, form in enumerate("BHIQbhiq")}
FORMS |= {0xd9: ("text", ">B"), 0xda: ("text", ">H"), 0xdb: ("text", ">I"), 0xdc: ("array", ">H"),
          0xdd: ("array", ">I"), 0xde: ("map", ">H"), 0xdf: ("map", ">I")}

Frame = collections.namedtuple("Frame", "opcode flags fd_count detail id origin body")
Message = collections.namedtuple("Message", "topic sender encoding body fds withheld retained")
Notice = collections.namedtuple("Notice", "opcode details")  # of NOTICES, or ERROR for a refused publish


class BusError(Exception):
    """An ERROR frame. Its argument is the map: status, message, and at times topic, rule, offset, protocol."""


def check(condition, text):
    """Raises ValueError where the broker sent what the specification does not allow."""
    if not condition:
        raise ValueError(text)


def pack(value):
    """Encodes what the control bodies of a client hold: maps, strings and unsigned integers."""
    if isinstance(value, dict):
        return bytes([0x80 | len(value)]) + b"".join(pack(key) + pack(value[key]) for key in value)
    if isinstance(value, str):
        return struct.pack(">BH", 0xda, len(value.encode())) + value.encode()
    return struct.pack(">BQ", 0xcf, value)


def unpack(data, at=0):
    """Decodes the msgpack value at an offset; gives it and its end. No floats, binary, extensions (3)."""
    byte, at = data[at], at + 1
    if byte in CONSTANTS or byte < 0x80 or byte >= 0xe0:
        return CONSTANTS.get(byte, byte if byte < 0x80 else byte - 0x100), at
    if byte < 0xc0:
        kind = "map" if byte < 0x90 else "array" if byte < 0xa0 else "text"
        number = byte & (0x1f if kind == "text" else 0x0f)
    else:
        check(byte in FORMS, f"msgpack type 0x{byte:02x} in a control body")
        kind, form = FORMS[byte]
        number, at = struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)
    if kind == "number" or kind == "text":
        check(abs(number) < 2**53 if kind == "number" else at + number <= len(data), f"{kind} out of range")
        return (number, at) if kind == "number" else (data[at:at + number].decode(), at + number)
    items = []
    for _ in range(number * 2 if kind == "map" else number):
        item, at = unpack(data, at)
        items.append(item)
    if kind == "array":
        return items, at
    found = dict(zip(items[::2], items[1::2]))
    check(len(found) == number and all(isinstance(key, str) for key in found), "bad or repeated key")
    return found, at


def parse_body(body, keys):
    """The map of a control frame, checked for the keys it must hold. An empty body is an empty map."""
    try:
        found, end = unpack(body) if body else ({}, 0)
    except (IndexError, TypeError, UnicodeDecodeError, struct.error, RecursionError) as error:
        raise ValueError("a control body is not msgpack") from error
    is_map = end == len(body) and isinstance(found, dict)
    check(is_map and all(type(found.get(key)) is keys[key] for key in keys), f"wrong control body: {found}")
    return found


def split_packet(packet, fds_delivered):
    """The frames of one packet, each checked, and the fds against the kernel's count (2, 3)."""
    check(16 <= len(packet) <= PACKET_BYTES_MAX and len(packet) % 8 == 0, f"packet of {len(packet)} bytes")
    frames, fds_wanted, at = [], 0, 0
    while at < len(packet):
        check(at + 16 <= len(packet), "frame header reaches past the packet")
        length, *fields = HEADER.unpack_from(packet, at)
        check(16 <= length <= len(packet) - at, f"frame of {length} bytes")
        frame = Frame(*fields, packet[at + 16:at + length])
        flags_known = frame.opcode in ALLOWED_FLAGS and not frame.flags & ~ALLOWED_FLAGS[frame.opcode]
        check(flags_known, f"opcode 0x{frame.opcode:02x}, flags 0x{frame.flags:02x}")
        withheld = frame.opcode == MESSAGE and frame.flags & FDS_WITHHELD != 0
        check(withheld == (frame.detail != 0), f"detail {frame.detail} with flags 0x{frame.flags:02x}")
        large = int(frame.opcode == MESSAGE and frame.flags & LARGE != 0)
        check(not large or len(frame.body) == 8, "a large message holds a length and no more (9)")
        fds_max = {MESSAGE: large if withheld else FDS_MAX, WELCOME: 1}.get(frame.opcode, 0)
        check(large <= frame.fd_count <= fds_max, f"{frame.fd_count} fds with opcode 0x{frame.opcode:02x}")
        fds_wanted += 0 if frame.flags & FDS_ON_LANE else frame.fd_count
        frames.append(frame)
        at += (length + 7) & ~7
    is_alone = fds_wanted == 0 or len(frames) == 1
    check(fds_wanted == fds_delivered and is_alone, f"{fds_wanted} fds promised, {fds_delivered} delivered")
    return frames


def seal(body):
    """Memory with a large body, as the broker wants it (9): a file object, closed with its last reference."""
    memory = open(os.memfd_create("body", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "wb", buffering=0)
    memory.write(body)
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, 0x01 | 0x02 | 0x04 | 0x08)  # F_SEAL_SEAL, SHRINK, GROW, WRITE
    return memory


def unseal(fd, length):
    """The body of a large message, out of its first fd, which is closed (9)."""
    try:
        return os.pread(fd, int.from_bytes(length, "little"), 0)
    finally:
        os.close(fd)


def receive_record(sock, bytes_max):
    """One record and its fds, which the caller owns. No bytes mean end-of-file."""
    arguments = bytes_max, socket.CMSG_SPACE(FDS_MAX * 4), socket.MSG_CMSG_CLOEXEC
    try:
        data, ancillary, flags, _ = sock.recvmsg(*arguments)
    except ConnectionResetError:  # overtakes what the broker sent last; that comes with the next call
        data, ancillary, flags, _ = sock.recvmsg(*arguments)
    fds = list(array.array("i", b"".join(rights for _, _, rights in ancillary)))  # nothing but SCM_RIGHTS comes
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        list(map(os.close, fds))
        raise ValueError("a record or its fds were truncated")
    return data, fds


class Connection:
    """One connection. request() waits for its answer; what comes meanwhile waits for receive()."""

    def __init__(self, path=None, features=0, protocol=1):
        user, system = os.environ.get("XDG_RUNTIME_DIR", "/run") + "/seqbus/bus.sock", "/run/seqbus/bus.sock"
        path = path or os.environ.get("SEQBUS_SOCKET") or (user if os.path.exists(user) else system)
        self.lane, self.lane_sequence, self.last_request, self.answer = None, 0, 0, None
        self.events, self.topics, self.senders = collections.deque(), {}, {}
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        self.socket.connect(path)
        _, uid, _ = struct.unpack("=iII", self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        check(uid in (0, os.geteuid(), os.stat(os.path.dirname(path) or ".").st_uid), f"broker has uid {uid}")
        self.welcome = self.request(HELLO, {"protocol": protocol, "features": features})
        check(not self.welcome["features"] & ~features and bool(self.lane) == bool(self.welcome["features"] & FD_LANE), "features")

    def close(self):
        """Closes the socket, the lane and the fds of messages that nobody took."""
        for sock in filter(None, (self.socket, self.lane)):
            sock.close()
        for event in self.events:
            list(map(os.close, getattr(event, "fds", ())))

    def request(self, opcode, body=b""):
        """Sends a request and gives the map of its ACK, or WELCOME. A refusal is raised as BusError."""
        self.last_request = 0 if opcode == HELLO else self.last_request % 0xffffffff + 1
        self.send(opcode, self.last_request, body)
        while self.answer is None:
            self._read_packet()
        frame, self.answer = self.answer, None
        mine = frame.id == self.last_request and frame.opcode in (WELCOME if opcode == HELLO else ACK, ERROR)
        check(mine, "the answer is not to this request")
        if frame.opcode == ERROR:
            raise BusError(parse_body(frame.body, KEYS[ERROR]))
        return parse_body(frame.body, ANSWER_KEYS[opcode])

    def send(self, opcode, id, body=b"", flags=0, fds=()):
        """Sends one frame, such as MESSAGE to publish on a topic id. The fds stay open here."""
        payload = pack(body) if isinstance(body, dict) else body
        memory = seal(payload) if len(payload) > BODY_BYTES_MAX else None
        if memory:
            payload, flags, fds = len(payload).to_bytes(8, "little"), flags | LARGE, [memory.fileno(), *fds]
        packet = HEADER.pack(16 + len(payload), opcode, flags, len(fds), 0, id, 0) + payload
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self.socket.sendmsg([packet + bytes(-len(packet) % 8)], rights)
        except (BrokenPipeError, ConnectionResetError):
            while True:  # the reason is in what the broker sent last, and behind that is the end of file
                self._read_packet()

    def receive(self):
        """Waits for the next Message, whose fds the caller then owns, or Notice. EOFError: all is over."""
        while not self.events:
            self._read_packet()
        return self.events.popleft()

    def _read_packet(self):
        packet, fds = receive_record(self.socket, PACKET_BYTES_MAX)
        try:
            if not packet:
                raise EOFError("the broker closed the connection")
            for frame in split_packet(packet, len(fds)):
                self._take_frame(frame, fds)
        except BaseException:
            list(map(os.close, fds))
            raise

    def _take_frame(self, frame, fds):
        details = {} if frame.opcode == MESSAGE else parse_body(frame.body, KEYS[frame.opcode])
        if frame.opcode == MESSAGE:
            announced = frame.id in self.topics and frame.origin in self.senders
            check(announced, f"topic {frame.id} or sender {frame.origin} was not announced")
            fds = self._read_lane(frame.fd_count) if frame.flags & FDS_ON_LANE else fds
            body = unseal(fds.pop(0), frame.body) if frame.flags & LARGE else frame.body
            self.events.append(Message(self.topics[frame.id], self.senders[frame.origin], frame.flags & 0x03,
                                       body, fds, bool(frame.flags & FDS_WITHHELD), bool(frame.flags & RETAINED)))
        elif frame.opcode == TOPIC:
            self.topics[frame.id] = details["topic"]
        elif frame.opcode == SENDER:
            self.senders[frame.id] = {"connection": frame.id, **details}
        elif frame.opcode == SENDER_GONE:
            check(self.senders.pop(frame.id, None), "SENDER_GONE for a sender that was not announced")
        elif frame.opcode == ERROR and frame.flags & FATAL:
            raise BusError(details)
        elif frame.opcode in NOTICES or frame.opcode == ERROR and frame.id == 0:
            self.events.append(Notice(frame.opcode, {"topic": self.topics.get(frame.id), **details}))
        else:
            check(self.answer is None, "an answer that nobody waits for")
            self.answer, self.lane = frame, socket.socket(fileno=fds[0]) if fds else self.lane

    def _read_lane(self, count):
        record, fds = receive_record(self.lane, LANE_RECORD.size + 1) if self.lane else (b"", [])
        self.lane_sequence += 1
        if record != LANE_RECORD.pack(self.lane_sequence, count) or len(fds) != count:
            list(map(os.close, fds))
            raise ValueError("the lane and the packets have come apart: close the connection")
        return fds


def main():
    """publish TOPIC TEXT...; subscribe PATTERN; echo PATTERN TOPIC. Prints one JSON object a line."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("command", choices=("publish", "subscribe", "echo"))
    parser.add_argument("first", help="topic or pattern")
    parser.add_argument("rest", nargs="*", help="texts, or a topic")
    parser.add_argument("--count", type=int, default=1, help="messages to receive; a notice ends it too")
    parser.add_argument("--file", type=argparse.FileType("rb"), help="goes along with each message")
    parser.add_argument("--lane", action="store_true", help="ask for the fd lane")
    options = parser.parse_args()
    bus = Connection(features=FD_LANE if options.lane else 0)
    if options.command == "publish":
        topic = bus.request(OPEN_TOPIC, {"topic": options.first})["topic"]
        for text in options.rest:
            bus.send(MESSAGE, topic, text.encode(), TEXT, [options.file.fileno()] if options.file else [])
        return print(json.dumps({**bus.welcome, **bus.request(SYNC)}))
    reply = bus.request(OPEN_TOPIC, {"topic": options.rest[0]})["topic"] if options.command == "echo" else None
    print(json.dumps({**bus.welcome, **bus.request(SUBSCRIBE, {"pattern": options.first})}), flush=True)
    for event in (bus.receive() for _ in range(options.count)):
        if isinstance(event, Notice):
            return print(json.dumps(event._asdict()))
        if reply:
            bus.send(MESSAGE, reply, event.body, event.encoding, event.fds)
        files = [os.pread(fd, PACKET_BYTES_MAX, 0).decode() for fd in event.fds]
        print(json.dumps(event._replace(body=event.body.decode(errors="replace"), fds=files)._asdict()), flush=True)
        list(map(os.close, event.fds))
    bus.request(SYNC)


if __name__ == "__main__":
    main()
