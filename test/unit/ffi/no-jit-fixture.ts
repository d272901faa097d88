/** Imports the C library and prints how that failed. Run with BUN_JSC_useJIT=0. */

import { ConfigError } from "../../../src/errors.ts";

try {
  await import("../../../src/ffi/libc.ts");
  process.stdout.write(JSON.stringify({ name: "loaded" }));
} catch (error) {
  if (!(error instanceof ConfigError)) throw error;
  const { name, code, message } = error;
  process.stdout.write(JSON.stringify({ name, code, message }));
}
