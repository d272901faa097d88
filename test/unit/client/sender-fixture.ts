/** Somebody who sent something, where it does not matter who. */

import type { Sender } from "../../../src/client/message.ts";

export const SENDER: Sender = {
  connection: 1,
  uid: 0,
  gid: 0,
  pid: 1,
  groups: [],
  unit: undefined,
  exe: undefined,
};
