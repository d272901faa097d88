/**
 * Loaded before every test file: a test may take long on a loaded machine, since it waits for
 * conditions. Longer than eventually() waits, so that a failure names the condition.
 */

import { setDefaultTimeout } from "bun:test";

const TEST_TIMEOUT_MS = 30_000;

setDefaultTimeout(TEST_TIMEOUT_MS);
