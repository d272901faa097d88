/**
 * Starts a bare dbus-broker and does for it what its launcher does: hands it a listening socket, with
 * a policy that allows everything. The launcher itself would need systemd and its journal.
 * @see dbus-broker(1), --controller
 */

import { closeFd } from "../../src/ffi/owned-fd.ts";
import { bindPath, listen } from "../../src/ffi/seqpacket.ts";
import { authenticate, awaitAnswer } from "./dbus-dialect.ts";
import { DBUS_TYPE, DbusWriter, encodeDbusMessage } from "./dbus-wire.ts";
import { PeerStream } from "./peer-stream.ts";
import { openStreamPair, openUnixStream } from "./stream-socket.ts";

const BACKLOG = 4_096;

/** The controller's end is the first inherited fd. */
const CONTROLLER_FD = "3";

const MACHINE_ID = "0123456789abcdef0123456789abcdef";

/** No limit is to be met: a window on messages bounds what is under way. */
const LIMITS = [
  ["--max-bytes", "4000000000"],
  ["--max-fds", "1000000"],
  ["--max-matches", "1000000"],
  ["--max-objects", "10000000"],
].flat();

const ANY_UID = 0xffff_ffff;
const PRIORITY = 1n;
const NO_LIMIT = 0xffff_ffff_ffff_ffffn;

/** A running dbus-broker. */
export interface ControlledBroker {
  readonly process: Bun.Subprocess;
  /** Closes the controller's socket, which ends the broker. */
  readonly close: () => void;
}

/** Starts it listening at `path`. */
export function startDbusBroker(path: string): ControlledBroker {
  const listenFd = openUnixStream();
  bindPath(listenFd, path);
  listen(listenFd, BACKLOG);
  const [controllerFd, brokerFd] = openStreamPair();
  const child = Bun.spawn({
    cmd: ["dbus-broker", "--controller", CONTROLLER_FD, "--machine-id", MACHINE_ID, ...LIMITS],
    stdio: ["ignore", "ignore", "inherit", brokerFd],
  });
  closeFd(brokerFd);
  const stream = new PeerStream(controllerFd);
  try {
    authenticate(stream);
    addListener(stream, listenFd);
  } catch (error) {
    stream.close();
    child.kill("SIGKILL");
    throw error;
  } finally {
    closeFd(listenFd);
  }
  return { process: child, close: () => stream.close() };
}

/** Versions differ in what ends a policy, and nothing tells which is which: try. */
function addListener(stream: PeerStream, listenFd: number): void {
  const refusals: unknown[] = [];
  for (const ending of POLICY_ENDINGS) {
    try {
      stream.say(encodeAddListener(ending), [listenFd]);
      return awaitAnswer(stream, "AddListener");
    } catch (error) {
      refusals.push(error);
    }
  }
  throw new AggregateError(refusals, "dbus-broker takes no policy that is known here");
}

function encodeAddListener(ending: PolicyEnding): Uint8Array {
  const body = new DbusWriter().string("/org/bus1/DBus/Listener/0").u32(0);
  body.signature(`(${POLICY}${ending.signature})`).align(8);
  writePolicy(body);
  ending.write(body);
  return encodeDbusMessage(
    {
      type: DBUS_TYPE.CALL,
      serial: 1,
      path: "/org/bus1/DBus/Broker",
      interface: "org.bus1.DBus.Broker",
      member: "AddListener",
      signature: "ohv",
      unixFds: 1,
    },
    body.finish(),
  );
}

/** Rules for whoever connects, by uid and by gid; labels. */
const BATCH = "bta(btbs)a(btssssuutt)a(btssssuutt)";
const POLICY = `a(u(${BATCH}))a(buu(${BATCH}))a(ss)`;

interface PolicyEnding {
  readonly signature: string;
  readonly write: (writer: DbusWriter) => void;
}

/** AppArmor: off; the type of the bus. */
const POLICY_ENDINGS: readonly PolicyEnding[] = [
  { signature: "bs", write: (writer) => writer.bool(false).string("session") },
  { signature: "b", write: (writer) => writer.bool(false) },
  { signature: "", write: () => {} },
];

/** One batch, for all uids, that allows everything. */
function writePolicy(writer: DbusWriter): void {
  writer.array(8, () => {
    writer.align(8).u32(ANY_UID).align(8);
    writer.bool(true).u64(PRIORITY);
    writer.array(8, () => writer.align(8).bool(true).u64(PRIORITY).bool(true).string(""));
    writer.array(8, () => writeMessageRule(writer));
    writer.array(8, () => writeMessageRule(writer));
  });
  writer.array(8, () => {});
  writer.array(8, () => {});
}

/** Any name, path, interface, member; any type; with or without broadcast; any number of fds. */
function writeMessageRule(writer: DbusWriter): void {
  writer.align(8).bool(true).u64(PRIORITY);
  writer.string("").string("").string("").string("");
  writer.u32(0).u32(0).u64(0n).u64(NO_LIMIT);
}
