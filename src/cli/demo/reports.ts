/** What the actors of the demo tell its director: one JSON object a line on standard output. */

import type { Sender } from "../../client/message.ts";

/** One report. */
export type Report =
  /** `uid`: who the broker takes the display for. */
  | { readonly type: "subscribed"; readonly uid: number }
  | {
      readonly type: "reading";
      readonly topic: string;
      readonly celsius: number;
      readonly sender: Sender;
    }
  | {
      readonly type: "file";
      readonly topic: string;
      readonly path: string;
      readonly sender: Sender;
      /** What open(2) by path said: the name of an errno, "" where it succeeded. */
      readonly openError: string;
      /** What was read through the received fd. */
      readonly contents: string;
    }
  /** Copies of all messages together that the broker delivered. */
  | { readonly type: "published"; readonly delivered: number }
  | {
      readonly type: "refused";
      readonly code: string;
      readonly rule: string | undefined;
      readonly message: string;
    }
  /** The actor could not play its part. */
  | { readonly type: "failed"; readonly message: string };
