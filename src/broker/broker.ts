/**
 * The broker: listener, sessions and reactor put together, started, and shut down cleanly. Prints
 * nothing and reads no configuration; that is the command line's.
 */

import { ConfigError } from "../errors.ts";
import { Epoll } from "../ffi/epoll.ts";
import { raiseOpenFilesLimit } from "../ffi/resource-limits.ts";
import { findRuntimeEpoll } from "../ffi/runtime-epoll.ts";
import { prepareUnreadRecords } from "../ffi/unread-records.ts";
import { Accepting } from "./arrivals/accepting.ts";
import { ComingsAndGoings } from "./arrivals/comings-and-goings.ts";
import { Listener } from "./arrivals/listener.ts";
import { ThreadFds, type ThreadStarter } from "./closing/thread-fds.ts";
import { NEVER } from "./deadlines.ts";
import type { BrokerEventListener } from "./events.ts";
import { FDS_PER_CONNECTION, FDS_RESERVED } from "./fds/limits.ts";
import { SpareFds } from "./fds/spare-fds.ts";
import { overflowIds } from "./identity/overflow-ids.ts";
import { IDLE_WAIT_MS } from "./limits.ts";
import { OF_BROKER } from "./long-work/background.ts";
import { ownUidPolicy } from "./policy/decide.ts";
import { PolicyAssembly } from "./policy/policy-build.ts";
import type { Policy } from "./policy/rules.ts";
import { Reactor, type ReactorHandler } from "./reactor.ts";
import { UserTurns } from "./reading/user-turns.ts";
import type { AdministrationHost } from "./requests/administration.ts";
import { Sessions } from "./sessions.ts";
import {
  isLaneToken,
  LISTENER_TOKEN,
  SocketWatch,
  slotOfToken,
  TAKING_TOKEN,
} from "./socket-watch.ts";
import { COMINGS_AND_GOINGS_MS_PER_TURN } from "./turn-limits.ts";

/** Sockets of a bus with a policy are open to all; the policy decides. */
const MODE_WITH_POLICY = 0o666;
const MODE_OWN_UID = 0o600;

/** What a broker is started with. */
export interface BrokerOptions {
  /** Pathname of the socket, at most 107 bytes; its directory must exist. */
  readonly path: string;
  /** Undefined: serve the broker's own uid alone, with everything allowed. */
  readonly policy?: Policy | undefined;
  /**
   * Reads the policy files again, on a thread started by what it is given: the pieces of
   * serializePolicy(). Undefined where there is nothing to read again. May reject with ConfigError, or
   * with what the system said.
   */
  readonly readPolicy?: ((threads: ThreadStarter) => Promise<readonly string[]>) | undefined;
  /** Permissions of the socket. Default: 0666 with a policy, 0600 without. */
  readonly mode?: number | undefined;
  /**
   * "connect": a client is who connected, also when it hands its socket on. "message": each packet
   * must come from the process that connected. Default "connect".
   */
  readonly verify?: "connect" | "message" | undefined;
  /** Let rules match clients whose uid or gid has no mapping here, or is nobody's. Default false. */
  readonly allowUnmapped?: boolean | undefined;
  /**
   * Let the kernel refuse the fds of clients that may send none, where it can (Linux 6.16). Off, they
   * come in and are refused here, as with older kernels. Default true.
   */
  readonly keepFdsOut?: boolean | undefined;
  /**
   * Milliseconds after which fds that a subscriber did not take are withdrawn, where the policy does
   * not set `fd-ttl-ms`. Default FD_TTL_MS.
   */
  readonly fdTtlMs?: number | undefined;
  readonly onEvent?: BrokerEventListener;
  /** Milliseconds, monotonic. Default: performance.now. */
  readonly now?: () => number;
}

/** One broker process's broker. */
export class Broker implements ReactorHandler, AdministrationHost {
  readonly #listener: Listener;
  readonly #sessions: Sessions;
  readonly #accepting: Accepting;
  readonly #comingsAndGoings: ComingsAndGoings;
  readonly #spareFds: SpareFds;
  readonly #threadFds: ThreadFds;
  readonly #epoll: Epoll;
  readonly #watch: SocketWatch;
  readonly #reactor: Reactor;
  readonly #now: () => number;
  readonly #onEvent: BrokerEventListener;
  readonly #readPolicy: BrokerOptions["readPolicy"];
  /** The reload under way, or the last one. */
  #reload: Promise<unknown> = Promise.resolve();
  /** When no more time of this turn is left for those who come and go. */
  #turnEndsAt = 0;
  /** When no more time of this turn is left for burials; 0 where none was done yet. */
  #burialsEndAt = 0;

  /**
   * Binds the socket; clients that connect wait until run().
   * @throws {ArgumentError} ARGUMENT_SOCKET_PATH
   * @throws {ConfigError} CONFIG_SOCKET_DIRECTORY, CONFIG_SOCKET_IN_USE; CONFIG_PLATFORM where the
   *   process may hold too few fds to serve anybody
   * @throws {SyscallError} where the kernel refuses
   */
  constructor(options: BrokerOptions) {
    const { path, policy } = options;
    const uid = process.geteuid?.() ?? 0;
    this.#now = options.now ?? (() => performance.now());
    this.#onEvent = options.onEvent ?? (() => {});
    this.#readPolicy = options.readPolicy;
    const openFilesMax = raiseOpenFiles(path);
    // What takes fds once is done while there are some: they may be gone by the time it is needed.
    prepareUnreadRecords();
    const mode = options.mode ?? (policy === undefined ? MODE_OWN_UID : MODE_WITH_POLICY);
    // A broker that itself runs as nobody, without a policy, serves nobody.
    const servesNobody = policy === undefined && uid === overflowIds().uid;
    const verifiesPackets = options.verify === "message";
    const { keepFdsOut = true } = options;
    this.#listener = Listener.open(path, { mode, verifiesPackets, keepFdsOut });
    const runtimeEpoll = findRuntimeEpoll();
    this.#epoll = new Epoll();
    const turns = new UserTurns();
    this.#watch = new SocketWatch(this.#epoll, turns);
    this.#spareFds = new SpareFds();
    this.#threadFds = new ThreadFds(openFilesMax, this.#now);
    this.#sessions = new Sessions({
      policy: policy ?? ownUidPolicy(uid),
      turns,
      ownUid: uid,
      servesOwnUidOnly: policy === undefined,
      administration: this,
      openFilesMax,
      fdTtlMs: options.fdTtlMs,
      spareFds: this.#spareFds,
      threadFds: this.#threadFds,
      identity: { allowUnmapped: options.allowUnmapped ?? servesNobody },
      verifiesPackets,
      keepsFdsOut: this.#listener.keepsFdsOut,
      watch: this.#watch,
      now: this.#now,
      onEvent: this.#onEvent,
    });
    this.#accepting = new Accepting({
      listener: this.#listener,
      watch: this.#watch,
      spareFds: this.#spareFds,
      reception: this.#sessions.reception,
      adopt: (fd, administratorsOnly) => this.#sessions.adopt(fd, administratorsOnly),
      now: this.#now,
      onEvent: this.#onEvent,
    });
    this.#comingsAndGoings = new ComingsAndGoings({
      accept: () => this.#accepting.accept(),
      ready: this.#sessions.readyBetween,
    });
    this.#reactor = new Reactor(this.#epoll, runtimeEpoll, this, this.#now);
    this.#onEvent({ type: "listening", path, policy: policy?.path });
  }

  /** Serves until stop(); then says goodbye, closes every socket and removes the socket file. */
  async run(): Promise<void> {
    try {
      await this.#reactor.run();
    } finally {
      this.#sessions.closeAll();
      this.#listener.close();
      this.#spareFds.close();
      this.#threadFds.close();
      this.#watch.close();
      this.#epoll.close();
      await this.#sessions.closer.end();
    }
    this.#onEvent({ type: "stopped", path: this.#listener.path });
  }

  /**
   * Fds of clients that are not closed yet. Where it is not 0 after run(), closing them hangs, and
   * goes on in a process that keeps open what this one does not close itself.
   */
  get closesPending(): number {
    return this.#sessions.closer.pending;
  }

  /** Begins the clean shutdown; run() resolves when it is done, at most SHUTDOWN_DRAIN_MS later. */
  stop(): void {
    const { shutdown } = this.#sessions;
    if (shutdown.hasBegun) return;
    this.#accepting.pause();
    shutdown.begin();
  }

  /**
   * Reads the policy anew and puts it in force, after any reload before it. Until then, and if it
   * is wrong, the old one stays in force. Delivery goes on meanwhile.
   * @returns how many rules the new policy has
   * @throws {ConfigError} CONFIG_POLICY
   */
  reloadPolicy(): Promise<number> {
    const reload = this.#reload.then(() => this.#loadPolicy());
    this.#reactor.yieldSoon();
    this.#reload = reload.catch(() => {});
    return reload;
  }

  async #loadPolicy(): Promise<number> {
    try {
      if (this.#readPolicy === undefined) throw noPolicyFile();
      const policy = await this.#assemble(
        await this.#readPolicy(this.#threadFds).catch(explainUnread),
      );
      this.#sessions.replacePolicy(policy);
      this.#onEvent({ type: "policy-loaded", policy: policy.path, rules: policy.rules.length });
      return policy.rules.length;
    } catch (error) {
      if (error instanceof ConfigError) {
        this.#onEvent({ type: "policy-refused", message: error.message });
      }
      throw error;
    }
  }

  /** Builds a policy piece by piece, between the packets. */
  #assemble(pieces: readonly string[]): Promise<Policy> {
    return new Promise((resolve) => {
      this.#sessions.background.addForRights(OF_BROKER, assembleSteps(pieces, resolve));
    });
  }

  /** ReactorHandler */
  sleepMs(): number {
    if (this.#sessions.shutdown.isDrained()) return 0;
    if (!this.#sessions.isSettled) return 0;
    const deadline = this.#nextDeadline();
    if (deadline === NEVER) return IDLE_WAIT_MS;
    const remaining = Math.ceil(deadline - this.#now());
    // An integer also to the engine, which calls C the slow way with a double.
    return Math.max(0, Math.min(IDLE_WAIT_MS, remaining)) | 0;
  }

  /** ReactorHandler */
  ready(token: number, events: number): void {
    if (token === LISTENER_TOKEN) return this.#comingsAndGoings.noteListener();
    if (token === TAKING_TOKEN) return this.#sessions.fdsTaken();
    const connection = this.#sessions.at(slotOfToken(token));
    if (connection === undefined) return;
    if (isLaneToken(token)) this.#sessions.laneReady(connection);
    else if (!this.#comingsAndGoings.note(connection, events)) {
      this.#sessions.noteReady(connection, events);
    }
  }

  /** ReactorHandler. Those who come and go are not waited for. */
  endTurn(): boolean {
    const hasServed = this.#sessions.serve();
    if (this.#accepting.hasDue) this.#comingsAndGoings.noteListener();
    if (!this.#comingsAndGoings.isEmpty) {
      this.#sessions.flush();
      // From here on: what is sent for those who are in takes nothing of it.
      this.#turnEndsAt = this.#now() + COMINGS_AND_GOINGS_MS_PER_TURN;
      this.#comingsAndGoings.run(this.#hasTime);
    }
    this.#burialsEndAt = 0;
    this.#sessions.settle(this.#mayClose);
    const { shutdown } = this.#sessions;
    if (shutdown.hasBegun) {
      if (shutdown.isDone()) this.#reactor.stop();
    } else {
      this.#accepting.resumeIfDue();
      this.#threadFds.refillIfDue(this.#spareFds.areShort);
    }
    return hasServed;
  }

  /** Begins to count when it is asked first, behind all that settle() does for others. */
  readonly #mayClose = (): boolean => {
    const now = this.#now();
    if (this.#burialsEndAt === 0) this.#burialsEndAt = now + COMINGS_AND_GOINGS_MS_PER_TURN;
    return now < this.#burialsEndAt;
  };

  readonly #hasTime = (): boolean => this.#now() < this.#turnEndsAt;

  #nextDeadline(): number {
    const { shutdown } = this.#sessions;
    if (shutdown.hasBegun) return shutdown.deadline;
    const own = Math.min(this.#sessions.deadline(), this.#accepting.deadline());
    return Math.min(own, this.#sessions.closer.deadline(), this.#threadFds.deadline());
  }
}

function* assembleSteps(
  pieces: readonly string[],
  done: (policy: Policy) => void,
): Generator<void, void> {
  const assembly = new PolicyAssembly();
  for (const piece of pieces) {
    assembly.add(piece);
    yield;
  }
  done(assembly.finish());
}

/**
 * @returns how many files this process may have open
 * @throws {ConfigError} CONFIG_PLATFORM where not even one client could be served
 */
function raiseOpenFiles(path: string): number {
  const { soft } = raiseOpenFilesLimit();
  const needed = FDS_RESERVED + FDS_PER_CONNECTION;
  if (soft >= needed) return soft;
  throw new ConfigError(
    "CONFIG_PLATFORM",
    `Cannot serve ${path}: this process may open ${soft} files (ulimit -n), it needs at least ` +
      `${needed}`,
  );
}

/** The broker may have no fd or process left to read the files with; then the old policy stays. */
function explainUnread(error: unknown): never {
  if (!(error instanceof Error) || !("syscall" in error)) throw error;
  const message = `Cannot read the policy: ${error.message}`;
  throw new ConfigError("CONFIG_POLICY", message, {}, { cause: error });
}

function noPolicyFile(): ConfigError {
  return new ConfigError(
    "CONFIG_POLICY",
    "Cannot reload the policy: this broker was started without a policy file",
  );
}
