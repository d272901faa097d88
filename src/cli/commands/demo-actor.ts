/** `seqbus demo-actor`: one client process of the demo. Started by `seqbus demo`, not by people. */

import { dropPrivileges } from "../../ffi/process-credentials.ts";
import { connectOnce } from "../bus-connection.ts";
import {
  type Direction,
  playDisplay,
  playIntruder,
  playOpener,
  playSensor,
  type Tell,
} from "../demo/actors.ts";
import { type Part, SOCKET_FILE } from "../demo/cast.ts";
import { EXIT } from "../exit-codes.ts";
import { stdout } from "../output.ts";

/** How an actor is started: one JSON object as its only argument. */
export interface Engagement extends Direction {
  readonly part: Part;
  /** The uid to become, and the gid; undefined where the actor stays who it is. */
  readonly becomes: number | undefined;
}

/**
 * Gives up root, connects, and plays. The working directory is the demo's own, and every path is
 * relative to it: its parents may be closed to the user that the actor becomes.
 * @param text an Engagement
 * @returns the exit code
 */
export async function runDemoActor(text: string): Promise<number> {
  const engagement: Engagement = JSON.parse(text);
  const { becomes } = engagement;
  if (becomes !== undefined) dropPrivileges({ uid: becomes, gid: becomes, groups: [] });
  const tell: Tell = (report) => stdout.write(`${JSON.stringify(report)}\n`);
  try {
    await using bus = await connectOnce(SOCKET_FILE);
    switch (engagement.part) {
      case "sensor":
        await playSensor(bus, tell);
        break;
      case "kitchen":
      case "wall":
        await playDisplay(bus, engagement.part, tell);
        break;
      case "opener":
        await playOpener(bus, engagement, tell);
        break;
      case "intruder":
        await playIntruder(bus, engagement, tell);
        break;
    }
  } catch (error) {
    tell({ type: "failed", message: error instanceof Error ? error.message : String(error) });
    throw error;
  }
  return EXIT.OK;
}
