/**
 * What the broker has to tell its administrator, as data. The broker prints nothing itself: who
 * starts it hands in a listener, and the listener must not throw or block.
 */

import type { ErrorCode } from "../errors.ts";
import type { FoundFdKind } from "../fd-kinds.ts";
import type { PeerIdentity } from "./identity/identity.ts";

/** Something that happened, never with payload. */
export type BrokerEvent =
  | { readonly type: "listening"; readonly path: string; readonly policy: string | undefined }
  | { readonly type: "connected"; readonly connection: number; readonly identity: PeerIdentity }
  | {
      readonly type: "disconnected";
      readonly connection: number;
      readonly identity: PeerIdentity;
      /** Why, where it was not the client's own wish. */
      readonly code: ErrorCode | undefined;
      readonly message: string | undefined;
      /** With a LIMIT_ code, as in the ERROR that the client was sent. */
      readonly limit?: number | undefined;
      readonly actual?: number | undefined;
      /** Messages that waited for it here, and are lost; those in its socket are not known. */
      readonly lost: number;
    }
  | {
      /** Only the permissive mode of a policy file lets it pass. */
      readonly type: "would-deny";
      readonly connection: number;
      readonly identity: PeerIdentity;
      readonly action: string;
      readonly topic: string;
      readonly rule: string | undefined;
      /** The how-manieth such event since the broker started. */
      readonly count: number;
    }
  | {
      readonly type: "denied";
      readonly connection: number;
      readonly identity: PeerIdentity;
      readonly action: string;
      readonly topic: string;
      readonly rule: string | undefined;
    }
  | {
      readonly type: "revoked";
      readonly connection: number;
      readonly identity: PeerIdentity;
      readonly action: string;
      readonly topic: string;
      readonly rule: string | undefined;
    }
  | {
      /** A client began to serve, or serves no more: by its own wish or end, or was replaced. */
      readonly type: "service-owner";
      readonly connection: number;
      readonly identity: PeerIdentity;
      readonly topic: string;
      readonly isOwner: boolean;
      /** Of the service; grows whenever who serves it changes. */
      readonly generation: number;
    }
  | {
      /** A private channel was opened; what goes over it the broker does not see. */
      readonly type: "channel-opened";
      /** Who asked for it. */
      readonly connection: number;
      readonly identity: PeerIdentity;
      /** The service. */
      readonly topic: string;
      /** Who has the other side, and serves it. */
      readonly server: number;
      readonly serverIdentity: PeerIdentity;
    }
  | {
      /**
       * A message with fds was refused: for the kind of one of them, where `kind` says so, else
       * because it would have been too many, as the other fields say.
       */
      readonly type: "fds-refused";
      readonly connection: number;
      readonly identity: PeerIdentity;
      readonly kind?: FoundFdKind;
      readonly topic?: string;
      readonly code?: ErrorCode;
      readonly limit?: number;
      readonly actual?: number;
      readonly message?: string;
      /** The setting that lists the kinds, as `file:line`; undefined for the default ones. */
      readonly rule?: string | undefined;
    }
  | {
      /** A client did not get the fds of messages that it was sent. */
      readonly type: "fds-undelivered";
      readonly connection: number;
      readonly identity: PeerIdentity;
      /**
       * refused: the kernel has too many in flight, or the client closed its lane. unwanted: the client
       * shut its socket for fds. expired: it did not take them in time.
       */
      readonly reason: "refused" | "unwanted" | "expired";
      readonly fds: number;
    }
  | {
      /** A large message was refused, because its body is not safe to pass on, or too large. */
      readonly type: "body-refused";
      readonly connection: number;
      readonly identity: PeerIdentity;
      readonly topic: string;
      readonly code: ErrorCode;
      /** With LIMIT_MESSAGE_BYTES. */
      readonly limit?: number | undefined;
      readonly actual?: number | undefined;
    }
  | {
      /** A request or message was refused, because a limit leaves no room for it. */
      readonly type: "limited";
      readonly connection: number;
      readonly identity: PeerIdentity;
      readonly code: ErrorCode;
      /** The topic, or the pattern of a subscription. */
      readonly topic: string;
      readonly limit: number;
      /** How much there is, or how large it is. */
      readonly actual: number;
      /** The same in words, with whose limit it is. */
      readonly message: string;
    }
  | {
      /** A last value was refused: by the setting at `rule`, or because too much is kept. */
      readonly type: "retain-refused";
      readonly connection: number;
      readonly identity: PeerIdentity;
      readonly topic: string;
      readonly code: ErrorCode;
      readonly rule: string | undefined;
      /** With LIMIT_RETAINED. */
      readonly limit?: number | undefined;
      readonly actual?: number | undefined;
    }
  | {
      /** Closing a file that a user sent hangs, for CLOSE_STUCK_MS or when the broker ends. */
      readonly type: "fd-close-stuck";
      readonly uid: number;
      /** Its fds that are not closed because of it. */
      readonly count: number;
    }
  | {
      /** Somebody connected and was not let in, because that user has connected too often. */
      readonly type: "turned-away";
      readonly uid: number;
      readonly code: ErrorCode;
      readonly message: string;
    }
  | { readonly type: "policy-loaded"; readonly policy: string; readonly rules: number }
  | { readonly type: "policy-refused"; readonly message: string }
  | { readonly type: "accept-paused"; readonly reason: string }
  | { readonly type: "stopped"; readonly path: string };

/** Receives events; must not throw or block. */
export type BrokerEventListener = (event: BrokerEvent) => void;
