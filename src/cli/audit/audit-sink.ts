/** Where audit lines go. What the log asks of a file, or of standard error. */

/** Takes lines without ever blocking or throwing. */
export interface AuditSink {
  /**
   * Takes one line, or does not.
   * @param line without its end
   * @param onLost called, at most once and later, where the line was taken and then failed
   * @returns false where there is no room for it
   */
  offer(line: string, onLost: () => void): boolean;
  /** Resolves when every line that was taken is written or has failed. It may never do so. */
  drained(): Promise<void>;
  /** Opens the file anew, where it is one that has a path. */
  reopen?(): void;
}
