/**
 * Starts one peer for one run: in a directory of its own, without persistence, on a Unix socket
 * where it has one, with its limits out of the way. What is under way is bounded by the window.
 */

import { join } from "node:path";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { startDbusBroker } from "./dbus-broker-controller.ts";
import { findPackage } from "./npm-client.ts";
import type { PeerKind } from "./peer-kinds.ts";
import { openStream } from "./stream-socket.ts";
import { zeromqSubscribersPath } from "./zmtp-dialect.ts";

/** A peer that listens. Disposing of it ends it. */
export interface PeerServer extends AsyncDisposable {
  readonly pid: number;
  /** As openStream() takes it. */
  readonly address: string;
}

/** How a peer is found and started. */
interface PeerProgram {
  readonly command: string;
  readonly versionArguments: readonly string[];
  readonly start: (directory: string) => Promise<PeerServer> | PeerServer;
}

const START_TIMEOUT_MS = 10_000;
const ATTEMPT_INTERVAL_MS = 10;
const LOG_FILE = "peer.log";

const PROGRAMS: Record<PeerKind, PeerProgram> = {
  redis: { command: "redis-server", versionArguments: ["--version"], start: startRedis },
  nats: { command: "nats-server", versionArguments: ["--version"], start: startNats },
  mosquitto: { command: "mosquitto", versionArguments: ["-h"], start: startMosquitto },
  zeromq: { command: "node", versionArguments: ["--version"], start: startZeromq },
  "dbus-daemon": {
    command: "dbus-daemon",
    versionArguments: ["--version"],
    start: startDbusDaemon,
  },
  "dbus-broker": {
    command: "dbus-broker",
    versionArguments: ["--version"],
    start: (directory) => {
      const address = join(directory, "bus.sock");
      const { process: child, close } = startDbusBroker(address);
      return serverOf(child, address, close);
    },
  },
};

/** Whether a peer can be started on this machine, and which version. undefined: it is absent. */
export function findPeer(peer: PeerKind): string | undefined {
  const { command, versionArguments } = PROGRAMS[peer];
  if (Bun.which(command) === null) return undefined;
  if (peer === "zeromq") return findPackage("zeromq");
  const { stdout } = Bun.spawnSync([command, ...versionArguments]);
  return /\d+(\.\d+)*/.exec(stdout.toString())?.[0] ?? "of an unknown version";
}

/**
 * Starts a peer and waits until it takes connections.
 * @param directory empty; all that it writes goes there
 */
export async function startPeer(peer: PeerKind, directory: string): Promise<PeerServer> {
  const server = await PROGRAMS[peer].start(directory);
  const deadline = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    try {
      closeFd(openStream(server.address));
      return server;
    } catch (error) {
      if (performance.now() < deadline) {
        await Bun.sleep(ATTEMPT_INTERVAL_MS);
        continue;
      }
      await server[Symbol.asyncDispose]();
      const log = await Bun.file(join(directory, LOG_FILE)).text();
      throw new Error(`${peer} does not take connections: ${log}`, { cause: error });
    }
  }
}

/** What a peer prints goes into its directory: it is of interest only if it does not start. */
function spawnServer(cmd: string[], address: string, directory: string): PeerServer {
  const log = Bun.file(join(directory, LOG_FILE));
  return serverOf(Bun.spawn({ cmd, stdio: ["ignore", log, log] }), address, () => {});
}

function serverOf(child: Bun.Subprocess, address: string, close: () => void): PeerServer {
  return {
    pid: child.pid,
    address,
    async [Symbol.asyncDispose]() {
      close();
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

function startRedis(directory: string): PeerServer {
  const address = join(directory, "redis.sock");
  const settings = {
    port: "0",
    unixsocket: address,
    dir: directory,
    save: '""',
    appendonly: "no",
    maxclients: "20000",
    loglevel: "warning",
    "client-output-buffer-limit": "pubsub 0 0 0",
    "client-query-buffer-limit": "1gb",
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => [
    `--${name}`,
    ...(name === "save" ? [""] : value.split(" ")),
  ]);
  return spawnServer(["redis-server", ...flags], address, directory);
}

/** NATS has no Unix socket, so it gets a port of the loopback interface that is free now. */
async function startNats(directory: string): Promise<PeerServer> {
  using probe = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const { port } = probe;
  probe.stop(true);
  const config = join(directory, "nats.conf");
  const settings = [
    `listen: "127.0.0.1:${port}"`,
    "max_payload: 67108864",
    "max_pending: 1073741824",
    "max_connections: 100000",
    'write_deadline: "60s"',
    'ping_interval: "1h"',
    `log_file: "${join(directory, "nats.log")}"`,
  ];
  await Bun.write(config, `${settings.join("\n")}\n`);
  return spawnServer(["nats-server", "--config", config], `127.0.0.1:${port}`, directory);
}

async function startMosquitto(directory: string): Promise<PeerServer> {
  const address = join(directory, "mqtt.sock");
  const config = join(directory, "mosquitto.conf");
  const settings = [
    `listener 0 ${address}`,
    "allow_anonymous true",
    "persistence false",
    "max_queued_messages 0",
    "max_queued_bytes 0",
    "max_inflight_messages 0",
    "set_tcp_nodelay true",
    "log_type error",
    // Started by root it would become another user, who cannot write into the directory.
    ...(process.getuid?.() === 0 ? ["user root"] : []),
  ];
  await Bun.write(config, `${settings.join("\n")}\n`);
  return spawnServer(["mosquitto", "-c", config], address, directory);
}

async function startDbusDaemon(directory: string): Promise<PeerServer> {
  const address = join(directory, "dbus.sock");
  const config = join(directory, "dbus.conf");
  const limits = {
    max_incoming_bytes: 1_000_000_000,
    max_incoming_unix_fds: 1_000_000,
    max_outgoing_bytes: 1_000_000_000,
    max_outgoing_unix_fds: 1_000_000,
    max_message_size: 134_217_728,
    max_completed_connections: 100_000,
    max_connections_per_user: 100_000,
    max_match_rules_per_connection: 1_000_000,
  };
  const lines = Object.entries(limits).map(
    ([name, value]) => `<limit name="${name}">${value}</limit>`,
  );
  await Bun.write(
    config,
    `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
<type>session</type>
<listen>unix:path=${address}</listen>
<auth>EXTERNAL</auth>
<policy context="default">
<allow send_destination="*" eavesdrop="true"/>
<allow receive_sender="*" eavesdrop="true"/>
<allow own="*"/>
</policy>
${lines.join("\n")}
</busconfig>
`,
  );
  const flags = ["--nofork", "--nopidfile", "--nosyslog", `--config-file=${config}`];
  return spawnServer(["dbus-daemon", ...flags], address, directory);
}

/** ZeroMQ has no server; this is the forwarder of its own library, in Node. */
function startZeromq(directory: string): PeerServer {
  const address = join(directory, "zeromq.sock");
  const script = join(import.meta.dir, "zeromq-proxy.mjs");
  return spawnServer(["node", script, address, zeromqSubscribersPath(address)], address, directory);
}
