/** What the broker reports, as lines for people. Pure. */

import type { BrokerEvent } from "../broker/events.ts";
import type { PeerIdentity } from "../broker/identity/identity.ts";
import { printable } from "./printable-text.ts";

const FDS_KEPT_BECAUSE = {
  refused: "the kernel does not pass them on",
  unwanted: "it takes none",
  expired: "it did not take them in time",
};

/**
 * Words for an event.
 * @param isVerbose also tell what is in order
 * @returns one line without its end; undefined for what is not worth one
 */
export function brokerLogLine(event: BrokerEvent, isVerbose: boolean): string | undefined {
  switch (event.type) {
    case "listening":
      // Standard output says it.
      return undefined;
    case "connected":
      return isVerbose ? `connected ${who(event.connection, event.identity)}` : undefined;
    case "disconnected":
      return disconnectedLine(event, isVerbose);
    case "denied":
      return decisionLine("denied", event);
    case "revoked":
      return decisionLine("revoked", event);
    case "would-deny":
      return decisionLine("would deny", event);
    case "service-owner": {
      const verb = event.isOwner ? "serves" : "serves no more";
      const line = `${who(event.connection, event.identity)} ${verb} "${event.topic}"`;
      return isVerbose ? printable(line) : undefined;
    }
    case "channel-opened": {
      const server = who(event.server, event.serverIdentity);
      const line = `${who(event.connection, event.identity)} has a channel on "${event.topic}"`;
      return isVerbose ? printable(`${line} to ${server}`) : undefined;
    }
    case "fds-refused":
      return fdsRefusedLine(event);
    case "fds-undelivered": {
      const subject = who(event.connection, event.identity);
      return `kept ${event.fds} file descriptors from ${subject}: ${FDS_KEPT_BECAUSE[event.reason]}`;
    }
    case "body-refused": {
      const where = `on "${printable(event.topic)}": ${event.code}`;
      return `refused a large message of ${who(event.connection, event.identity)} ${where}`;
    }
    case "limited": {
      const subject = who(event.connection, event.identity);
      return printable(`refused ${subject}: ${event.code}: ${event.message}`);
    }
    case "retain-refused": {
      const where = `on "${printable(event.topic)}": ${event.code}`;
      return `refused a last value of ${who(event.connection, event.identity)} ${where}`;
    }
    case "fd-close-stuck":
      return `closing files of uid ${event.uid} hangs: ${event.count} of them stay open`;
    case "turned-away":
      return `turned away: ${event.code}: ${event.message}`;
    case "policy-refused":
      return printable(`policy not loaded, the old one stays in force: ${event.message}`);
    case "policy-loaded":
      return `policy replaced: ${printable(event.policy)} has ${event.rules} rules`;
    case "accept-paused":
      return `accepting no connections for a moment: ${event.reason}`;
    case "stopped":
      return isVerbose ? `stopped serving ${printable(event.path)}` : undefined;
  }
}

function decisionLine(verb: string, event: Extract<BrokerEvent, { action: string }>): string {
  const { action, topic, rule } = event;
  const reason = rule === undefined ? "no rule allows it" : `rule "${rule}" denies it`;
  const subject = who(event.connection, event.identity);
  return printable(`${verb} ${action} on "${topic}" to ${subject}: ${reason}`);
}

function fdsRefusedLine(event: Extract<BrokerEvent, { type: "fds-refused" }>): string {
  const { kind, topic, rule, message } = event;
  const start = `refused file descriptors of ${who(event.connection, event.identity)}`;
  if (kind === undefined) return printable(`${start}: ${message ?? "there are too many"}`);
  const by = rule === undefined ? "by default" : `by ${rule}`;
  return printable(`${start}: "${topic}" takes no "${kind}" ${by}`);
}

function disconnectedLine(
  event: Extract<BrokerEvent, { type: "disconnected" }>,
  isVerbose: boolean,
): string | undefined {
  const subject = who(event.connection, event.identity);
  if (event.code === undefined) return isVerbose ? `disconnected ${subject}` : undefined;
  return printable(`dropped ${subject}: ${event.code}: ${event.message ?? "no reason given"}`);
}

function who(connection: number, { uid, gid, pid }: PeerIdentity): string {
  return `connection ${connection} (uid=${uid} gid=${gid} pid=${pid})`;
}
