/** Entry of the seqbus command: reads the arguments, runs one command, ends with its exit code. */

import { CommanderError } from "commander";
import { EXIT } from "./exit-codes.ts";
import { reportError, stderr, stdout } from "./output.ts";
import { buildProgram } from "./program.ts";
import { printsJson } from "./program-options.ts";

process.exit(await main(process.argv.slice(2)));

async function main(words: readonly string[]): Promise<number> {
  let exitCode: number = EXIT.OK;
  let asJson = false;
  try {
    const program = buildProgram((code) => {
      exitCode = code;
    });
    program.hook("preAction", (_, command) => {
      asJson = printsJson(command);
    });
    await program.parseAsync(words, { from: "user" });
  } catch (error) {
    // commander has printed what it has to say.
    if (error instanceof CommanderError) exitCode = error.exitCode === 0 ? EXIT.OK : EXIT.USAGE;
    else exitCode = reportError(error, asJson);
  }
  // An interrupted command does not wait for a reader that may never read.
  const isInterrupted = exitCode > 128;
  if (!isInterrupted) await Promise.all([stdout.drained(), stderr.drained()]);
  return exitCode;
}
