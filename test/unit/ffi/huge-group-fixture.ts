/** Looks a group up by name and number and prints what was found. Arguments: name, gid. */

import { findGroup } from "../../../src/ffi/user-database.ts";

const [name = "", gid] = process.argv.slice(2);
process.stdout.write(JSON.stringify([findGroup(name), findGroup(Number(gid))]));
