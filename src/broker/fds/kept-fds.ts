/** The fds of one packet that waits to be handled, as client-files.ts keeps them. */

/** Fds that are handed over once, or closed. */
export class KeptFds {
  /** Whether their sender pays for them, as far as it has to, while they are kept. */
  readonly isPaid: boolean;
  #fds: number[];
  readonly #letGo: (count: number) => void;
  readonly #close: (fd: number) => void;

  /**
   * @param fds owned from here on
   * @param letGo told how many are not kept any more
   * @param close closes one fd
   */
  constructor(
    fds: number[],
    letGo: (count: number) => void,
    close: (fd: number) => void,
    isPaid = false,
  ) {
    this.#fds = fds;
    this.#letGo = letGo;
    this.#close = close;
    this.isPaid = isPaid;
  }

  /** Of a packet without fds. */
  static none(): KeptFds {
    return new KeptFds([], nothing, nothing);
  }

  get count(): number {
    return this.#fds.length;
  }

  /** Hands the fds over to the caller. */
  take(): number[] {
    const fds = this.#fds;
    this.#fds = [];
    this.#letGo(fds.length);
    return fds;
  }

  /** Closes those that were not taken. @returns how many */
  close(): number {
    const fds = this.take();
    for (const fd of fds) this.#close(fd);
    return fds.length;
  }
}

function nothing(): void {}
