/**
 * Runs a *-fixture.ts of this folder as a process of its own: for tests that change ids or limits of
 * the process, or that would take the whole test run down if they crashed.
 */

/** How a fixture ended. */
export interface FixtureResult {
  readonly exitCode: number;
  /** What the fixture printed: one JSON value. */
  readonly output: unknown;
}

/**
 * @param name file name inside this folder
 * @param args for the fixture
 * @param environment added to that of this process
 * @throws {SyntaxError} when the fixture printed no JSON; its stderr is passed through
 */
export async function runFixture(
  name: string,
  args: readonly string[] = [],
  environment: Readonly<Record<string, string>> = {},
): Promise<FixtureResult> {
  await using child = Bun.spawn([process.execPath, `${import.meta.dir}/${name}`, ...args], {
    env: { ...process.env, ...environment },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  const text = await child.stdout.text();
  return { exitCode: await child.exited, output: JSON.parse(text) };
}
