import { describe, expect, test } from "bun:test";
import { Background, OF_BROKER } from "../../../../src/broker/long-work/background.ts";
import type { Steps } from "../../../../src/broker/long-work/fair-steps.ts";

/** Work that notes each step. */
function* work(name: string, steps: number, log: string[]): Generator<void, void> {
  for (let step = 1; step < steps; step += 1) {
    log.push(name);
    yield;
  }
  log.push(name);
}

/** There is time for so many steps. */
function timeFor(steps: number): () => boolean {
  let left = steps;
  return () => {
    left -= 1;
    return left > 0;
  };
}

describe("Background.run()", () => {
  test("does every second step for rights, however much news there is", () => {
    const background = new Background();
    const log: string[] = [];
    for (let number = 0; number < 1_000; number += 1) {
      background.addNews(1, work("news", 10, log));
    }
    background.addForRights(OF_BROKER, work("policy", 3, log));
    background.run(timeFor(6));
    expect(log.filter((name) => name === "policy")).toHaveLength(3);
    expect(log.filter((name) => name === "news")).toHaveLength(3);
  });

  test("keeps its place between rights and news from one turn to the next", () => {
    const background = new Background();
    const log: string[] = [];
    background.addNews(1, work("news", 10, log));
    background.addForRights(OF_BROKER, work("policy", 10, log));
    for (let turn = 0; turn < 6; turn += 1) background.run(timeFor(1));
    expect(log).toEqual(["policy", "news", "policy", "news", "policy", "news"]);
  });

  test("lets users take turns, and does the work of each in order", () => {
    const background = new Background();
    const log: string[] = [];
    background.addNews(1, work("1a", 2, log));
    background.addNews(1, work("1b", 1, log));
    background.addNews(2, work("2a", 2, log));
    background.run(() => true);
    expect(log).toEqual(["1a", "2a", "1a", "2a", "1b"]);
    expect(background.isIdle).toBe(true);
  });

  test("takes work that a step adds", () => {
    const background = new Background();
    const log: string[] = [];
    const adding: Steps = {
      next: () => {
        background.addNews(1, work("added", 1, log));
        return { done: true, value: undefined };
      },
    };
    background.addNews(1, adding);
    background.run(() => true);
    expect(log).toEqual(["added"]);
  });
});
