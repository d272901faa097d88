/**
 * The parts of the demo, each played in a process of its own. Everything is imported before the
 * process gives up its rights, since it may not be able to read this checkout afterwards: nothing
 * here may be imported late.
 */

import { closeSync, openSync, readSync, unlinkSync } from "node:fs";
import type { Bus } from "../../client/bus.ts";
import type { Message } from "../../client/message.ts";
import type { Subscription } from "../../client/subscription.ts";
import { ClosedError, RejectedError } from "../../errors.ts";
import { FILES_TOPIC, LETTER_FILE, PATTERNS, READINGS } from "./cast.ts";
import type { Report } from "./reports.ts";

/** Bytes of the largest letter that a display reads. */
const LETTER_BYTES_MAX = 4_096;

/** Tells the director something. */
export type Tell = (report: Report) => void;

/** What the opener and the intruder need to know. */
export interface Direction {
  readonly forbiddenTopic: string;
  /** Take the name of the letter away once it is open, where permissions keep nobody out. */
  readonly unlinksLetter: boolean;
}

/** Publishes all readings. */
export async function playSensor(bus: Bus, tell: Tell): Promise<void> {
  for (const { topic, celsius } of READINGS) bus.publish(topic, { celsius });
  const { delivered } = await bus.flush();
  tell({ type: "published", delivered });
}

/** Receives the readings that its pattern matches, and files, until the broker says goodbye. */
export async function playDisplay(
  bus: Bus,
  part: keyof typeof PATTERNS,
  tell: Tell,
): Promise<void> {
  const [readingsPattern, filesPattern] = PATTERNS[part];
  const readings = await bus.subscribe(readingsPattern);
  const files = await bus.subscribe(filesPattern);
  tell({ type: "subscribed", uid: bus.self.uid });
  try {
    await Promise.all([tellReadings(readings, tell), tellFiles(files, tell)]);
  } catch (error) {
    if (!(error instanceof ClosedError) || error.code !== "CLOSED_BY_BROKER") throw error;
  }
}

/** Opens the letter and hands it out. */
export async function playOpener(bus: Bus, direction: Direction, tell: Tell): Promise<void> {
  const fd = openSync(LETTER_FILE, "r");
  if (direction.unlinksLetter) unlinkSync(LETTER_FILE);
  bus.publish(FILES_TOPIC, { path: LETTER_FILE }, { fds: [fd] });
  closeSync(fd);
  const { delivered } = await bus.flush();
  tell({ type: "published", delivered });
}

/** Tries to publish where it has no right to. */
export async function playIntruder(bus: Bus, direction: Direction, tell: Tell): Promise<void> {
  bus.publish(direction.forbiddenTopic, "I am the opener, trust me");
  try {
    const { delivered } = await bus.flush();
    tell({ type: "published", delivered });
  } catch (error) {
    if (!(error instanceof RejectedError)) throw error;
    const { code, rule, message } = error;
    tell({ type: "refused", code, rule, message });
  }
}

async function tellReadings(readings: Subscription, tell: Tell): Promise<void> {
  for await (const { topic, data, sender } of readings) {
    const { celsius } = data as { celsius: number };
    tell({ type: "reading", topic, celsius, sender });
  }
}

async function tellFiles(files: Subscription, tell: Tell): Promise<void> {
  for await (const message of files) tellFile(message, tell);
}

function tellFile(message: Message, tell: Tell): void {
  const { topic, sender } = message;
  const { path } = message.data as { path: string };
  const openError = tryToOpen(path);
  using file = message.fds.take(0);
  const bytes = new Uint8Array(LETTER_BYTES_MAX);
  // From position 0, since all who got the file share one position.
  const count = readSync(file.fd, bytes, 0, bytes.length, 0);
  const contents = new TextDecoder().decode(bytes.subarray(0, count));
  tell({ type: "file", topic, path, sender, openError, contents });
}

/** @returns the errno's name, "" where it can be opened */
function tryToOpen(path: string): string {
  try {
    closeSync(openSync(path, "r"));
    return "";
  } catch (error) {
    return error instanceof Error && "code" in error ? String(error.code) : String(error);
  }
}
