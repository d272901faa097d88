/**
 * What must hold of the speed before a change lands: seqbus beside the bare relay in TypeScript, in
 * turns on one machine. The margins are wide, about half of what is usual: what they catch is a
 * system call, a copy or a sleep too much for each message, on a busy machine as on a quiet one.
 * Never a rate: that says how fast the machine is.
 */

/** Two scenarios in turns, and how the second must do beside the first. */
export interface Guard {
  /** Name of the scenario with the floor relay. */
  readonly floor: string;
  /** Name of the scenario with the broker. */
  readonly own: string;
  /** The broker's rate by the floor's, at least. */
  readonly ratioMin: number;
}

/** All of them. Beside each its usual ratio. */
export const GUARDS: readonly Guard[] = [
  // 0.8 to 1.0
  {
    floor: "1 to 1, 32 KiB packets, floor",
    own: "1 to 1, 32 KiB packets, raw",
    ratioMin: 0.4,
  },
  // 0.13 to 0.3
  { floor: "1 to 1, 64 KiB packets, floor", own: "1 to 1, library", ratioMin: 0.08 },
  // 1.3 to 2.1
  {
    floor: "1 to 1, 1 message a packet, floor",
    own: "1 to 1, 1 message a packet, raw",
    ratioMin: 0.6,
  },
  // 1.1 to 1.4
  {
    floor: "1 to 16, 32 KiB packets, floor",
    own: "1 to 16, 32 KiB packets, raw",
    ratioMin: 0.6,
  },
  // 0.7 to 0.9
  {
    floor: "1,000 topics, 32 KiB packets, floor",
    own: "1,000 topics, 32 KiB packets, raw",
    ratioMin: 0.35,
  },
  // 0.4 to 2.1: the scheduler puts three processes on one core, or on two. Never awake: to 1.1
  { floor: "ping-pong, floor", own: "ping-pong, raw", ratioMin: 0.5 },
  // 0.9 to 1.1
  {
    floor: "call round trip, 64 B, one core: floor in TypeScript",
    own: "call round trip, 64 B, one core: seqbus, raw",
    ratioMin: 0.5,
  },
  // 0.8 to 1.0
  {
    floor: "1 to 1, 256 KiB, front read: floor in TypeScript",
    own: "1 to 1, 256 KiB, front read: seqbus, raw",
    ratioMin: 0.45,
  },
  // 0.6 to 0.9
  { floor: "fds to 1: floor in TypeScript", own: "fds to 1: seqbus, raw", ratioMin: 0.35 },
  // 1.1 to 1.8
  { floor: "fds to 16: floor in TypeScript", own: "fds to 16: seqbus, raw", ratioMin: 0.6 },
];

/** How one guard ended. */
export interface GuardOutcome {
  readonly holds: boolean;
  /** Ratios in the order of the attempts; no more of them once one was enough. */
  readonly ratios: readonly number[];
}

/**
 * Measures until a ratio is enough. A machine that does something else for a while makes one attempt
 * fail, and a regression all of them.
 * @param measureRatio measures both, one right after the other
 */
export async function attemptGuard(
  { ratioMin }: Guard,
  attemptsMax: number,
  measureRatio: () => Promise<number>,
): Promise<GuardOutcome> {
  const ratios: number[] = [];
  while (ratios.length < attemptsMax) {
    const ratio = await measureRatio();
    ratios.push(ratio);
    if (ratio >= ratioMin) return { holds: true, ratios };
  }
  return { holds: false, ratios };
}
