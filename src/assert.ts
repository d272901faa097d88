/**
 * Assertions for bugs of our own. They crash the process and are never caught; a condition that
 * bytes from a client can bring about must not be asserted but returned or thrown as typed error.
 */

/** Thrown by assert() and unreachable() alone. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/**
 * States what must hold for the code after it to be right.
 * @param condition one condition; split `a && b` into two calls
 * @param message what was expected, with the values that broke it
 * @throws {AssertionError} where it does not hold
 */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/**
 * Marks a branch that the types rule out.
 * @param value of type never, so the compiler checks that all cases are handled
 * @throws {AssertionError} always
 */
export function unreachable(value: never): never {
  throw new AssertionError(`Unreachable case: ${String(value)}`);
}
