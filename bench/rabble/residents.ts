/**
 * Clients that are let in, stay, and misbehave with packets that are all well-formed: floods, calls
 * that nobody answers, files that nobody takes, queues that nobody reads. Each does one thing, as
 * often as its socket takes it.
 */

import { WOULD_BLOCK } from "../../src/ffi/syscall-result.ts";
import { queryBody } from "../../src/protocol/administration-messages.ts";
import { PACKET_BYTES_MAX } from "../../src/protocol/limits.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { serveBody } from "../../src/protocol/service-messages.ts";
import { buildRing, type PrebuiltPacket } from "../message-ring.ts";
import { RawSession } from "../raw-session.ts";
import { buildReply, buildRequest, REPLY_CALL_WORD, REQUEST_CALL_WORD } from "../roles/raw-call.ts";
import { SampleFds } from "../sample-fds.ts";
import { RESIDENT_KINDS, type ResidentKind } from "./resident-kinds.ts";
import { Toggles } from "./toggles.ts";

/** Packets that one sends before the next one's turn. */
const PACKETS_PER_ACT = 16;

const BODY_BYTES = 64;

/** Clients that the broker throws out in the end: once few of them are left it is over. */
const ASKERS_MAX = 4;

/** What nobody but the crowd subscribes to, and what it calls. */
const HEAP_TOPIC = "bench.rabble.heap";
const FILES_TOPIC = "bench.rabble.files";
const SILENT_SERVICE = "bench.rabble.silent";

/** Sends one packet. @returns outcome of RawSession.sendNow() */
type Deed = () => number;

/** One client. */
interface Resident {
  readonly kind: ResidentKind;
  readonly session: RawSession;
  /** Undefined for one that does nothing more. */
  readonly deed: Deed | undefined;
  /** Whether it reads what comes; whoever does not, and gets answers, is thrown out. */
  readonly reads: boolean;
  isGone: boolean;
}

const samples = new SampleFds(1);

/** Who does what, and what it takes to begin. Connects, blocking. */
const MAKERS: Readonly<Record<ResidentKind, (path: string, at: number) => Omit<Resident, "kind">>> =
  {
    "stands still": (path) => idle(enter(path, [], HEAP_TOPIC)),
    "takes no files": (path) => idle(enter(path, [], FILES_TOPIC)),
    "serves and is silent": (path) => {
      const session = enter(path, []);
      session.ask(OPCODE.SERVE, 1, serveBody({ service: SILENT_SERVICE, shared: true }));
      return idle(session);
    },
    "floods alone": (path, at) => flood(enter(path, [`bench.alone.${at}`]), 1),
    "floods the crowd": (path) => flood(enter(path, [HEAP_TOPIC]), PACKET_BYTES_MAX),
    "floods with large packets": (path, at) =>
      flood(enter(path, [`bench.alone.${at}`]), PACKET_BYTES_MAX),
    "calls in vain": (path) => callInVain(enter(path, [])),
    "answers nobody": (path, at) => answerNobody(enter(path, []), `bench.rabble.own${at}`),
    "hands out files": (path) => handOutFiles(enter(path, [FILES_TOPIC])),
    "opens and closes": (path, at) => {
      const session = enter(path, []);
      const toggles = new Toggles(session, at);
      return { session, deed: () => toggles.send(), reads: false, isGone: false };
    },
    "asks and never reads": (path) => askInVain(enter(path, [])),
  };

/** Clients that stay, driven by the caller. */
export class Residents {
  /** Packets that the broker's sockets took, by kind; of those that send nothing: how many there are. */
  readonly deeds: Record<string, number> = {};
  readonly #residents: Resident[] = [];
  #next = 0;

  /**
   * Connects all of them, one after the other, at whatever pace the broker lets them in.
   * @param ofEachKind how many, but for those whom the broker throws out in the end; as many full queues should fit what their user may have waiting
   */
  constructor(path: string, ofEachKind: number) {
    for (const kind of RESIDENT_KINDS) {
      const count = kind === "asks and never reads" ? Math.min(ofEachKind, ASKERS_MAX) : ofEachKind;
      for (let at = 0; at < count; at += 1) {
        const resident = { kind, ...MAKERS[kind](path, at) };
        this.#residents.push(resident);
        if (resident.deed === undefined) this.#count(kind, 1);
      }
    }
  }

  /** How many there were at first. */
  get size(): number {
    return this.#residents.length;
  }

  /** The next so many clients do what they do. */
  act(count: number): void {
    for (let done = 0; done < count; done += 1) {
      const resident = this.#residents[this.#next];
      this.#next = (this.#next + 1) % this.#residents.length;
      if (resident?.deed !== undefined && !resident.isGone) this.#act(resident, resident.deed);
    }
  }

  #act(resident: Resident, deed: Deed): void {
    let taken = 0;
    while (taken < PACKETS_PER_ACT) {
      const outcome = deed();
      if (outcome === WOULD_BLOCK) break;
      if (outcome < 0) {
        resident.isGone = true;
        resident.session.close();
        break;
      }
      taken += 1;
    }
    this.#count(resident.kind, taken);
    if (resident.reads && !resident.isGone) while (resident.session.receiveIfAny() > 0);
  }

  #count(kind: ResidentKind, more: number): void {
    this.deeds[kind] = (this.deeds[kind] ?? 0) + more;
  }
}

function enter(path: string, publish: readonly string[], subscribe?: string): RawSession {
  return new RawSession(path, "broker", { publish, subscribe });
}

function idle(session: RawSession): Omit<Resident, "kind"> {
  return { session, deed: undefined, reads: false, isGone: false };
}

function flood(session: RawSession, packetBytes: number): Omit<Resident, "kind"> {
  const [packet] = buildRing(session.topicIds, BODY_BYTES, packetBytes);
  return { session, deed: sendAgain(session, packet), reads: true, isGone: false };
}

function callInVain(session: RawSession): Omit<Resident, "kind"> {
  const service = session.openService(1, SILENT_SERVICE);
  const request = buildRequest(service, BODY_BYTES);
  let call = 1;
  const deed = () => {
    request.words[REQUEST_CALL_WORD] = call;
    const outcome = session.sendNow(request, request.byteLength);
    if (outcome > 0) call += 1;
    return outcome;
  };
  return { session, deed, reads: true, isGone: false };
}

/** Calls itself once; every answer behind the first one comes too late. */
function answerNobody(session: RawSession, name: string): Omit<Resident, "kind"> {
  session.serve(1, name);
  const service = session.openService(2, name);
  const request = buildRequest(service, BODY_BYTES);
  request.words[REQUEST_CALL_WORD] = 1;
  session.send(request, request.byteLength);
  const reply = buildReply(BODY_BYTES);
  // The broker's number for the first request of a connection.
  reply.words[REPLY_CALL_WORD] = 1;
  const deed = () => session.sendNow(reply, reply.byteLength);
  return { session, deed, reads: true, isGone: false };
}

/** Each question takes the broker longer than messages do, and its answer fills a quarter of a packet. */
function askInVain(session: RawSession): Omit<Resident, "kind"> {
  const question = queryBody({ what: "clients" });
  const deed = () => session.tellNow(OPCODE.QUERY, 1, question);
  return { session, deed, reads: false, isGone: false };
}

function handOutFiles(session: RawSession): Omit<Resident, "kind"> {
  const [packet] = buildRing(session.topicIds, BODY_BYTES, 1, { fds: 1 });
  return { session, deed: sendAgain(session, packet, samples.of(0)), reads: true, isGone: false };
}

function sendAgain(
  session: RawSession,
  packet: PrebuiltPacket | undefined,
  fds: readonly number[] = [],
): Deed {
  if (packet === undefined) throw new Error("No packet was built");
  return () => session.sendNow(packet.buffer, packet.bytes, fds);
}
