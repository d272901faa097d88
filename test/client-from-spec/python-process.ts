/**
 * Python processes that run seqbus_client.py, as its tests see them. Needs python3 and nothing that
 * pip installs.
 */

import { expect } from "bun:test";
import { eventually } from "../support/eventually.ts";
import { testUnless } from "../support/loud-skip.ts";

/** The client that was written from docs/protocol.md. */
export const CLIENT_PATH = `${import.meta.dir}/seqbus_client.py`;

/** Python 3.9 brought `|` for dicts. */
const HAS_PYTHON = Bun.which("python3") !== null && isNewEnough();

/** What the environment of a script points to. */
interface Reachable {
  readonly path: string;
}

/** One line of JSON that a Python process printed. */
export type Line = { readonly [key: string]: unknown };

function isNewEnough(): boolean {
  const check = "import sys; sys.exit(sys.version_info < (3, 9))";
  return Bun.spawnSync(["python3", "-c", check]).exitCode === 0;
}

/** A test that is skipped loudly without python3, and fails then in CI. */
export function testWithPython(name: string, body: () => Promise<void>): void {
  testUnless(!HAS_PYTHON, "python3 of version 3.9 or later is not installed", name, body);
}

/** A Python process, for `await using`: lines of JSON come out, lines of text go in. */
export class PythonProcess implements AsyncDisposable {
  readonly lines: Line[] = [];
  readonly #child: Bun.Subprocess<"pipe", "pipe", "pipe">;
  readonly #reading: Promise<void>;
  #complaints = "";
  #taken = 0;

  constructor(socketPath: string, pythonArguments: readonly string[]) {
    this.#child = Bun.spawn(["python3", ...pythonArguments], {
      env: {
        ...process.env,
        SEQBUS_SOCKET: socketPath,
        PYTHONPATH: import.meta.dir,
        PYTHONDONTWRITEBYTECODE: "1",
      },
      stdin: "pipe",
      stdout: "pipe",
      stderr: "pipe",
    });
    this.#reading = this.#read();
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Waits for the next line that was not taken yet. */
  async next(): Promise<Line> {
    const what = () => `python3 printed line ${this.#taken + 1}. ${this.#complaints}`;
    const line = await eventually(() => this.lines[this.#taken], what);
    this.#taken += 1;
    return line;
  }

  /** Lets a script go on that waits in input(). */
  continue(): void {
    this.#child.stdin.write("\n");
    this.#child.stdin.flush();
  }

  /** Waits for its end, which must be a good one. */
  async finish(): Promise<void> {
    const code = await this.#child.exited;
    await this.#reading;
    expect({ code, complaints: this.#complaints }).toEqual({ code: 0, complaints: "" });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
    await this.#reading;
  }

  async #read(): Promise<void> {
    const complaining = new Response(this.#child.stderr).text();
    let rest = "";
    const decoder = new TextDecoder();
    for await (const chunk of this.#child.stdout) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.lines.push(JSON.parse(line));
    }
    this.#complaints = await complaining;
  }
}

/** The command line of seqbus_client.py. */
export function runClient(broker: Reachable, ...commandLine: string[]): PythonProcess {
  return new PythonProcess(broker.path, [CLIENT_PATH, ...commandLine]);
}

/** A script that uses seqbus_client.py as a module; show() prints a line of JSON. */
export function runScript(broker: Reachable, script: string): PythonProcess {
  const prelude = `
import json
from seqbus_client import *
def show(**fields): print(json.dumps(fields), flush=True)
def failure(call):
    try: call()
    except (BusError, ValueError, EOFError) as error: return [type(error).__name__, error.args[0]]
`;
  return new PythonProcess(broker.path, ["-c", prelude + script]);
}

/** A script that needs no broker. */
export async function linesOf(script: string): Promise<readonly Line[]> {
  await using python = runScript({ path: "/nonexistent" }, script);
  await python.finish();
  return python.lines;
}
