/** The object that a message carries where messages are objects, and the check on it. Pure. */

/** What is beside the number. */
export const SAMPLE_CELSIUS = 21.5;
export const SAMPLE_UNIT = "C";

/**
 * Reads an object that came.
 * @returns the number of its message
 * @throws {Error} where it has not the fields, or not the values, that were sent
 */
export function readSampleObject(data: unknown): number {
  const object = data as Readonly<Record<"number" | "celsius" | "unit", unknown>> | undefined;
  const { number, celsius, unit } = object ?? {};
  if (typeof number === "number" && celsius === SAMPLE_CELSIUS && unit === SAMPLE_UNIT) {
    return number;
  }
  throw new Error("Got an object that was not sent");
}
