/**
 * How this very command is started again, as a process of its own: with the same Bun, and with the
 * options that keep a hostile working directory from adding code to it.
 */

/** To be followed by the words of a command. */
export const OWN_COMMAND: readonly string[] = [
  process.execPath,
  "--config=/dev/null",
  "--no-env-file",
  "--no-install",
  Bun.main,
];
