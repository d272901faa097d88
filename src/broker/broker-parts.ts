/**
 * Puts the parts of a broker together: which part is made from which others stands here, and nothing
 * runs. What drives them is sessions.ts.
 */

import type { Area } from "./area.ts";
import { Admission, type AdmissionOptions } from "./arrivals/admission.ts";
import { Reception } from "./arrivals/reception.ts";
import { ClientFiles } from "./closing/client-files.ts";
import { ClosingThread } from "./closing/closing-thread.ts";
import { FdCloser } from "./closing/fd-closer.ts";
import { FDS_CLOSING_PER_UID_MAX } from "./closing/limits.ts";
import type { ThreadStarter } from "./closing/thread-fds.ts";
import type { Connection } from "./connection.ts";
import { ConnectionTable } from "./connection-table.ts";
import { Burials } from "./departures/burials.ts";
import { EndedSockets } from "./departures/ended-sockets.ts";
import type { Cause } from "./departures/endings.ts";
import { FdBudget } from "./fds/fd-budget.ts";
import { FdGate } from "./fds/fd-gate.ts";
import { FdIntake } from "./fds/fd-intake.ts";
import { FdSweep, type FdSweepHost } from "./fds/fd-sweep.ts";
import { FdsInFlight } from "./fds/fds-in-flight.ts";
import { LingeringSockets } from "./fds/lingering-sockets.ts";
import { residentBytes } from "./figures/resident-memory.ts";
import { Statistics } from "./figures/statistics.ts";
import { Background } from "./long-work/background.ts";
import { Chores } from "./long-work/chores.ts";
import { Deferred } from "./long-work/deferred.ts";
import type { Policy } from "./policy/rules.ts";
import { Presence } from "./presence.ts";
import { Queries } from "./queries/queries.ts";
import { Quotas } from "./quotas/quota.ts";
import { FDS_SHARE, limitsOfPolicy, quotaDefaults } from "./quotas/quota-limits.ts";
import { BackPressure } from "./reading/back-pressure.ts";
import { HeldOff } from "./reading/held-off.ts";
import { PacketHandler, type PacketHost } from "./reading/packet-handler.ts";
import { PacketRests } from "./reading/packet-rests.ts";
import { PacketSource } from "./reading/packet-source.ts";
import { Reading, type ReadingHost } from "./reading/reading.ts";
import { Rounds, type RoundsHost } from "./reading/rounds.ts";
import type { UserTurns } from "./reading/user-turns.ts";
import { Administration, type AdministrationHost } from "./requests/administration.ts";
import { Requests } from "./requests/requests.ts";
import { Rights } from "./requests/rights.ts";
import { Retained } from "./retained/retained.ts";
import { BusState } from "./routing/bus-state.ts";
import { type ControlSender, Introductions } from "./routing/introductions.ts";
import { Router, type RouterHost } from "./routing/router.ts";
import { Flusher, type FlushHost } from "./sending/flusher.ts";
import { Services } from "./services/services.ts";

/** What a broker is made from. */
export interface SessionsOptions extends AdmissionOptions {
  readonly policy: Policy;
  /** Whose turn it is to be read from; the broker notes who is ready. */
  readonly turns: UserTurns;
  /** What administrators may ask for. */
  readonly administration: AdministrationHost;
  /** RLIMIT_NOFILE of this process. */
  readonly openFilesMax: number;
  /** Starts threads that close fds. */
  readonly threadFds: ThreadStarter;
  /** Milliseconds after which fds that nobody took are withdrawn, without a policy's word. */
  readonly fdTtlMs: number | undefined;
  /** Whether each packet must come from the process that connected. */
  readonly verifiesPackets: boolean;
  /** Whether the kernel keeps fds out of connections that are not opened for them. */
  readonly keepsFdsOut: boolean;
}

/** What the parts need of whoever drives them. */
export interface PartsHost
  extends RouterHost,
    PacketHost,
    FlushHost,
    FdSweepHost,
    ReadingHost,
    RoundsHost {
  readonly send: ControlSender;
  /** The client, which does not read, is to be closed. */
  endUnread(connection: Connection, cause: Cause): void;
}

/** The parts of one broker that are driven. */
export type BrokerParts = ReturnType<typeof assembleParts>;

/**
 * Makes all parts.
 * @param host not called before this returns
 */
export function assembleParts(given: SessionsOptions, host: PartsHost) {
  const statistics = new Statistics();
  const options = { ...given, onEvent: statistics.counting(given.onEvent) };
  const { ownUid, watch, turns, now, onEvent } = options;
  const tables = makeTables(options);
  const { state, quotas, budget, closer } = tables;
  const flusher = new Flusher(watch, host);
  const files = new ClientFiles(closer, quotas, budget);
  const { verifiesPackets } = options;
  const source = new PacketSource({ closer, files, budget, verifiesPackets });
  const deferred = new Deferred();
  const chores = new Chores(tables.background);
  const inFlight = new FdsInFlight(now, deferred);
  const introductions = new Introductions(host.send);
  const administration = new Administration(state, options.administration, ownUid, host.send);
  const policyGeneration = () => state.policyGeneration;
  const asked = { inFlight, administration, policyGeneration, options };
  const admission = new Admission({ ...tables, ...asked });
  const areas: Area[] = [];
  const fdGate = new FdGate(options.keepsFdsOut);
  const shared = { ...tables, areas, fdGate, introductions, inFlight, flusher, watch, now, host };
  const common = {
    ...shared,
    send: host.send,
    onEvent,
    files,
    source,
    administration,
    deferred,
    chores,
  };
  const reception = new Reception({ ...common, ownUid });
  const fdSweep = new FdSweep(common);
  const presence = new Presence(common);
  const retained = new Retained(common);
  const { replay } = retained;
  flusher.onFlushed = replay.wake;
  const router = new Router(state, introductions, inFlight, host, replay.giveBefore);
  const settle = () => {
    flusher.flushAll();
    files.settle();
  };
  const intake = new FdIntake({ ...common, router, host: files, settle });
  const services = new Services({ ...common, intake, presence });
  // Whoever does not read answers nothing: its callers are told, and are not sent there again.
  flusher.onPeerGone = (connection) => chores.add(connection, services.leave(connection));
  const end = host.endUnread.bind(host);
  const backPressure = new BackPressure({ ...common, router, end });
  const heldOff = new HeldOff({ closer, watch, backPressure });
  const queries = new Queries({
    ...common,
    statistics,
    backPressure,
    fdCounters: inFlight.counters,
    backlogBytes: () => admission.backlogBytes,
    residentBytes: () => residentBytes(options.spareFds),
  });
  queries.addProvider(services.provider);
  queries.addCounters("services", () => services.counters);
  queries.addCounters("retained", () => retained.counters);
  areas.push(queries, services, retained.area(router, intake));
  const requests = new Requests({ ...common, fdSweep, replay, backPressure });
  const rights = new Rights(common);
  const handler = new PacketHandler({ router, rights, chores, services, requests, intake, host });
  const sockets = new EndedSockets(common);
  const burials = new Burials({ ...common, presence, sockets });
  const reading = new Reading({ ...common, backPressure, handler, heldOff, verifiesPackets });
  const rounds = new Rounds({ ...common, turns, reading });
  const driven = { admission, administration, burials, fdSweep, files, flusher, handler, presence };
  const arriving = { backPressure, deferred, heldOff, inFlight, onEvent, reading, reception };
  const served = { retained, rights, rounds, services };
  return { ...tables, ...driven, ...arriving, ...served };
}

function makeTables(options: SessionsOptions) {
  const { openFilesMax, fdTtlMs, servesOwnUidOnly: servesOneUid, now, onEvent } = options;
  const openLane = () => ClosingThread.open(options.threadFds);
  const perUidMax = Math.min(FDS_CLOSING_PER_UID_MAX, Math.floor(openFilesMax / FDS_SHARE));
  const closer = new FdCloser({ now, onEvent, openLane, perUidMax });
  const budget = new FdBudget(openFilesMax);
  const { connectionsMax } = budget;
  return {
    background: new Background(),
    closer,
    budget,
    lingering: new LingeringSockets(budget),
    rests: new PacketRests(),
    state: new BusState(options.policy, ({ id, identity }, denial) =>
      onEvent({ type: "would-deny", connection: id, identity, ...denial }),
    ),
    table: new ConnectionTable({ connectionsMax, servesOneUid }),
    quotas: new Quotas(limitsOfPolicy(options.policy.limits, quotaDefaults(openFilesMax, fdTtlMs))),
  };
}
