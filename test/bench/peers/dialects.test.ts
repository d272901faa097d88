/**
 * The protocols of peers without the peers: what is encoded is what their specifications say, and a
 * delivery is found wherever its bytes are cut.
 */

import { describe, expect, spyOn, test } from "bun:test";
import { dbusDialect, matchRuleOf } from "../../../bench/peers/dbus-dialect.ts";
import { DbusWriter, encodeDbusMessage, readDbusLayout } from "../../../bench/peers/dbus-wire.ts";
import type { Dialect } from "../../../bench/peers/dialect.ts";
import { mqttDialect } from "../../../bench/peers/mqtt-dialect.ts";
import { natsDialect } from "../../../bench/peers/nats-dialect.ts";
import { redisDialect } from "../../../bench/peers/redis-dialect.ts";

const BODY = Buffer.from("0123456789abcdef");

interface Case {
  readonly name: string;
  readonly dialect: Dialect;
  /** One delivery with BODY. */
  readonly delivery: Uint8Array;
  /** Something that is none. */
  readonly other: Uint8Array;
}

const CASES: readonly Case[] = [
  {
    name: "Redis",
    dialect: redisDialect,
    delivery: Buffer.from(`*3\r\n$7\r\nmessage\r\n$3\r\na.b\r\n$16\r\n${BODY}\r\n`),
    other: Buffer.from(":1\r\n"),
  },
  {
    name: "NATS",
    dialect: natsDialect,
    delivery: Buffer.from(`MSG a.b 1 16\r\n${BODY}\r\n`),
    other: Buffer.from("PING\r\n"),
  },
  {
    name: "MQTT",
    dialect: mqttDialect,
    delivery: mqttDialect.encodePublish("a.b", BODY, 0),
    other: Buffer.from([0xd0, 0]),
  },
  {
    name: "D-Bus",
    dialect: dbusDialect,
    delivery: dbusDialect.encodePublish("a.b", BODY, 0),
    other: encodeDbusMessage(
      { type: 4, serial: 1, path: "/a", interface: "org.freedesktop.DBus", member: "NameAcquired" },
      new Uint8Array(),
    ),
  },
];

describe("Dialect.readDelivery()", () => {
  test.each(CASES)("finds the body of a delivery behind other bytes: $name", (one) => {
    const bytes = Buffer.concat([Buffer.from("xxxxxxxx"), one.delivery, one.other]);
    const layout = one.dialect.readDelivery(bytes, 8, bytes.byteLength);
    expect(layout?.totalBytes).toBe(one.delivery.byteLength);
    expect(layout?.bodyBytes).toBe(BODY.byteLength);
    const from = 8 + (layout?.bodyAt ?? 0);
    expect(bytes.subarray(from, from + BODY.byteLength)).toEqual(BODY);
  });

  test.each(CASES)("does not take what is cut off for whole: $name", (one) => {
    for (let end = 0; end < one.delivery.byteLength; end += 1) {
      const layout = one.dialect.readDelivery(one.delivery.subarray(0, end), 0, end);
      if (layout !== undefined) expect(layout.totalBytes).toBe(one.delivery.byteLength);
    }
  });

  test.each(CASES)("passes over what is no message: $name", (one) => {
    const layout = one.dialect.readDelivery(one.other, 0, one.other.byteLength);
    expect(layout).toMatchObject({ bodyBytes: -1, totalBytes: one.other.byteLength });
  });
});

describe("Dialect.encodePublish()", () => {
  test("writes what the specifications of Redis and NATS say", () => {
    expect(Buffer.from(redisDialect.encodePublish("a.b", BODY, 0)).toString()).toBe(
      `*3\r\n$7\r\nPUBLISH\r\n$3\r\na.b\r\n$16\r\n${BODY}\r\n`,
    );
    expect(Buffer.from(natsDialect.encodePublish("a.b", BODY, 0)).toString()).toBe(
      `PUB a.b 16\r\n${BODY}\r\n`,
    );
  });

  test("writes an MQTT length of two bytes from 128 on", () => {
    const packet = mqttDialect.encodePublish("a.b", Buffer.alloc(200), 0);
    expect([...packet.subarray(0, 8)]).toEqual([0x30, 0xcd, 0x01, 0, 3, 0x61, 0x2f, 0x62]);
  });

  test("announces the fds of a D-Bus signal in its header and in its body", () => {
    const message = Buffer.from(dbusDialect.encodePublish("a.b", BODY, 2));
    expect(message.includes("ayhh")).toBe(true);
    const layout = readDbusLayout(message, 0, message.byteLength);
    expect(layout?.bodyBytes).toBe(4 + BODY.byteLength + 2 * 4);
  });
});

describe("natsDialect.readDelivery()", () => {
  test("does not look at what lies behind the end", () => {
    const stale = Buffer.from(`MSG a.b 1 16\r\n${BODY}\r\n`);
    const search = spyOn(stale, "indexOf");
    for (let end = 0; end < 4; end += 1) {
      expect(natsDialect.readDelivery(stale, 0, end)).toBeUndefined();
    }
    expect(search).not.toHaveBeenCalled();
  });
});

describe("DbusWriter", () => {
  test("aligns, and leaves the padding before its first element out of an array's length", () => {
    const bytes = new DbusWriter().array(8, (writer) => writer.u64(7n)).finish();
    expect([...bytes]).toEqual([8, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
    expect([...new DbusWriter().u8(1).string("a").finish()]).toEqual([
      1, 0, 0, 0, 1, 0, 0, 0, 0x61, 0,
    ]);
  });
});

describe("matchRuleOf()", () => {
  test("names the member of one topic, and of several only the interface", () => {
    expect(matchRuleOf(["a-b"])).toBe("type='signal',interface='org.seqbus.Bench',member='a_b'");
    expect(matchRuleOf(["a", "b"])).toBe("type='signal',interface='org.seqbus.Bench'");
  });
});
