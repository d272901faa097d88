/**
 * seqbus_client.py checks what it reads as docs/protocol.md asks. Without that a broker that breaks
 * the page could pass client-from-spec.test.ts.
 */

import { describe, expect } from "bun:test";
import { linesOf, testWithPython } from "./python-process.ts";

describe("the checks of seqbus_client.py", () => {
  testWithPython("take unknown keys, and nothing else that is unknown", async () => {
    const [line] = await linesOf(String.raw`
def frame(opcode, body=b"", flags=0, fd_count=0, id=0, length=None):
    packet = HEADER.pack(16 + len(body) if length is None else length, opcode, flags, fd_count, int(flags & FDS_WITHHELD != 0), id, 0) + body
    return packet + bytes(-len(packet) % 8)
def verdict(packet, fds=0):
    return (failure(lambda: split_packet(packet, fds)) or ["fine"])[0]
gap = pack({"count": 1, "reason": 1, "later": {"also": "this"}})
message = frame(MESSAGE, b"x", id=1)
bus = Connection.__new__(Connection)
bus.events, bus.topics = collections.deque(), {7: "a"}
for packet in frame(REVOKED, pack({"message": "m", "action": "subscribe", "topic": "a.>"})), frame(POLICY_CHANGED), frame(GAP, gap, id=7):
    for one in split_packet(packet, 0): bus._take_frame(one, [])
show(
    notices=[event.details for event in bus.events],
    gap=parse_body(gap, KEYS[GAP]),
    fine=[verdict(frame(GAP, gap)), verdict(message + message), verdict(frame(MESSAGE, fd_count=2), 2),
          verdict(message + frame(MESSAGE, flags=FDS_ON_LANE, fd_count=2)),
          verdict(frame(MESSAGE, bytes(8), LARGE, 2), 2), verdict(frame(MESSAGE, bytes(8), LARGE | FDS_WITHHELD, 1), 1)],
    wrong=[verdict(b""), verdict(bytes(8)), verdict(message[:-4]), verdict(frame(0x7f)), verdict(frame(HELLO)),
           verdict(frame(GAP, gap, flags=1)), verdict(frame(MESSAGE, flags=0x20)), verdict(frame(MESSAGE, length=8)),
           verdict(frame(MESSAGE, length=24)), verdict(frame(MESSAGE, fd_count=1)), verdict(message, 1),
           verdict(frame(MESSAGE, fd_count=1) + message, 1), verdict(frame(SENDER, fd_count=1), 1),
           verdict(frame(MESSAGE, flags=FDS_WITHHELD, fd_count=1), 1), verdict(frame(MESSAGE, bytes(8), LARGE)),
           verdict(frame(MESSAGE, bytes(7), LARGE, 1), 1), verdict(frame(MESSAGE, bytes(8), LARGE | FDS_WITHHELD, 2), 2)],
    bodies=[failure(lambda: parse_body(body, KEYS[GAP]))[0] for body in (
        b"", b"\xc0", gap[:-1], gap + b"\x00", pack({"count": 1}), pack({"count": "1", "reason": 1}),
        b"\x82" + pack("count") * 2 + pack("reason") * 2, b"\x81\x01\x01", b"\x81\x90\x01",
        b"\x81\xa1a\xcb" + bytes(8), b"\x81\xa1a\xc4\x00", b"\x91" * 60000, b"\x81\xa1\xff\x01",
        b"\x81\xa1a\xcf\x00\x20" + bytes(6))],
    numbers=[unpack(data)[0] for data in (b"\x7f", b"\xff", b"\xe0", b"\xcc\xff", b"\xcd\x01\x00",
        b"\xce\x00\x01\x00\x00", b"\xd0\x80", b"\xd1\xff\x00", b"\xd2\xff\xff\xff\xff",
        b"\xd3" + b"\xff" * 8, b"\xc2", b"\xc3", b"\xc0")],
    more=[unpack(data)[0] for data in (b"\xd9\x01a", b"\xda\x00\x01a", b"\xdb\x00\x00\x00\x01a",
        b"\xdc\x00\x01\x05", b"\xdd\x00\x00\x00\x01\x05", b"\xde\x00\x01\xa1a\x05",
        b"\xdf\x00\x00\x00\x01\xa1a\x05")],
)
`);
    expect(line?.["notices"]).toEqual([
      { topic: "a.>", message: "m", action: "subscribe" },
      { topic: null },
      { topic: "a", count: 1, reason: 1, later: { also: "this" } },
    ]);
    expect(line?.["gap"]).toEqual({ count: 1, reason: 1, later: { also: "this" } });
    expect(line?.["fine"]).toEqual(Array(6).fill("fine"));
    expect(line?.["wrong"]).toEqual(Array(17).fill("ValueError"));
    expect(line?.["bodies"]).toEqual(Array(14).fill("ValueError"));
    const numbers = [127, -1, -32, 255, 256, 65_536, -128, -256, -1, -1, false, true, null];
    expect(line?.["numbers"]).toEqual(numbers);
    expect(line?.["more"]).toEqual(["a", "a", "a", [5], [5], { a: 5 }, { a: 5 }]);
  });

  testWithPython("find truncated records, and close what came with them", async () => {
    const lines = await linesOf(`
def truncated(room, fds):
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with left, right:
        socket.send_fds(left, [bytes(24)], fds)
        before = len(os.listdir("/proc/self/fd"))
        why = failure(lambda: receive_record(right, room))
        return why, len(os.listdir("/proc/self/fd")) - before
show(long=truncated(16, [0, 1]))
FDS_MAX = 1
receive_record.__globals__["FDS_MAX"] = 1
show(crowded=truncated(24, [0, 1, 2]))
`);
    const found = [["ValueError", "a record or its fds were truncated"], 0];
    expect(lines).toEqual([{ long: found }, { crowded: found }]);
  });

  testWithPython("find a lane that has come apart from the packets", async () => {
    const lines = await linesOf(`
def lane_after(*records):
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    bus = Connection.__new__(Connection)
    bus.lane, bus.lane_sequence = right, 0
    with left, right:
        for sequence, count, fds in records: socket.send_fds(left, [LANE_RECORD.pack(sequence, count)], fds)
        left.close()
        return [failure(lambda: list(map(os.close, bus._read_lane(1)))) for _ in records or [None]][-1]
show(fine=lane_after((1, 1, [0]), (2, 1, [0])))
for records in [], [(2, 1, [0])], [(1, 1, [0]), (3, 1, [0])], [(1, 2, [0, 1])], [(1, 1, [])], [(1, 1, [0, 1])]:
    show(apart=lane_after(*records)[0])
`);
    expect(lines).toEqual([{ fine: null }, ...Array(6).fill({ apart: "ValueError" })]);
  });
});
