/** The version of this package, as package.json has it (a test compares), and how it is named. */
export const VERSION = "0.1.0";

/** The `software` text of HELLO and WELCOME. */
export const SOFTWARE: string = `seqbus/${VERSION}`;
