import { describe, expect, test } from "bun:test";
import { EMPTY_ROUTE } from "../../../../src/broker/routing/route.ts";
import { type Topic, TopicTable } from "../../../../src/broker/routing/topic-table.ts";

function hold(table: TopicTable, name: string): Topic {
  const topic = table.hold(name);
  if (topic === undefined) throw new Error("The table is full");
  return topic;
}

describe("TopicTable", () => {
  test("gives one topic to all who hold the same name", () => {
    const table = new TopicTable();
    const topic = hold(table, "a");
    expect(hold(table, "a")).toBe(topic);
    expect(table.find("a")).toBe(topic);
    expect(table.size).toBe(1);
    expect(hold(table, "b").id).not.toBe(topic.id);
  });

  test("never gives the id 0", () => {
    expect(hold(new TopicTable(), "a").id).toBe(1);
  });

  test("frees a topic and its id with the last holder", () => {
    const table = new TopicTable();
    const topic = hold(table, "a");
    hold(table, "a");
    table.release(topic);
    expect(table.find("a")).toBe(topic);
    table.release(topic);
    expect(table.find("a")).toBeUndefined();
    expect(table.size).toBe(0);
    const next = hold(table, "b");
    expect(next.id).toBe(topic.id);
    expect(next).not.toBe(topic);
    expect(() => table.release(topic)).toThrow("released once by each holder");
  });

  test("lets go of the route of a topic that nobody has open, with all connections on it", () => {
    const table = new TopicTable();
    const topic = hold(table, "a");
    topic.route = EMPTY_ROUTE;
    topic.withheldFrom = new Set();
    table.release(topic);
    expect(topic.route).toBeUndefined();
    expect(topic.withheldFrom).toBeUndefined();
  });
});
