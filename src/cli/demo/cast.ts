/** Who plays in the demo, on which topics, and the policy that binds them. Pure. */

/** The socket and files of the demo, relative to its private directory. */
export const SOCKET_FILE = "bus.sock";
export const POLICY_FILE = "policy.toml";
export const LETTER_FILE = "letter.txt";

/** What the sensor publishes, in this order. */
export const READINGS = [
  { topic: "sensors.kitchen.temperature", celsius: 21.5 },
  { topic: "sensors.garden.temperature", celsius: 8.25 },
  { topic: "sensors.kitchen.temperature", celsius: 21.75 },
] as const;

/** Only the opener may publish here. */
export const FILES_TOPIC = "files.opened";

/** What stands in the file that is handed out. */
export const LETTER = "Dear displays, you could not have opened this yourselves.";

/** One after another: no well-known users live here, and user namespaces mostly reach so far. */
const UID_FIRST = 60_701;

/** Permissions of the letter: its owner alone. */
export const LETTER_MODE = 0o600;

/** The processes beside the broker. */
export const PARTS = ["sensor", "kitchen", "wall", "opener", "intruder"] as const;

/** One of PARTS. */
export type Part = (typeof PARTS)[number];

/** Names and numbers of one performance. */
export interface Cast {
  /** True where each part runs as a user of its own, false where all run as ours. */
  readonly hasOwnUsers: boolean;
  readonly uids: Readonly<Record<Part, number>>;
  /** Where the intruder tries to publish. */
  readonly forbiddenTopic: string;
}

/** The rule that refuses the intruder. */
export const INTRUDER_RULE = "strangers-open-nothing";

/** Patterns of the two displays: readings, then files. */
export const PATTERNS = {
  kitchen: ["sensors.kitchen.temperature", "files.opened"],
  wall: ["sensors.>", "files.*"],
} as const;

/**
 * Gives each part its uid.
 * @param ownUid the uid of this process
 * @param hasOwnUsers see Cast
 */
export function castParts(ownUid: number, hasOwnUsers: boolean): Cast {
  const uid = (index: number) => (hasOwnUsers ? UID_FIRST + index : ownUid);
  return {
    hasOwnUsers,
    uids: { sensor: uid(0), kitchen: uid(1), wall: uid(2), opener: uid(3), intruder: uid(4) },
    // One user alone: what the policy allows to the opener it must allow to the intruder as well.
    forbiddenTopic: hasOwnUsers ? FILES_TOPIC : "files.removed",
  };
}

/** The policy file of the demo. */
export function policyText({ uids, forbiddenTopic }: Cast): string {
  const displays = [...new Set([uids.kitchen, uids.wall])].join(", ");
  return `[[rule]]
id = "sensor-publishes"
allow = ["publish"]
topics = ["sensors.>"]
user = ${uids.sensor}

[[rule]]
id = "displays-receive"
allow = ["subscribe", "receive-fds"]
topics = ["sensors.>", "${FILES_TOPIC}"]
user = [${displays}]

[[rule]]
id = "opener-hands-out-files"
allow = ["publish", "send-fds"]
topics = ["${FILES_TOPIC}"]
user = ${uids.opener}

[[rule]]
id = "${INTRUDER_RULE}"
deny = ["publish"]
topics = ["${forbiddenTopic}"]
user = ${uids.intruder}
`;
}
