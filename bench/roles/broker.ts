/** The real broker as a benchmark process: as `seqbus broker` runs it, without the command line. */

import { Broker } from "../../src/broker/broker.ts";
import { loadPolicy } from "../../src/broker/policy/policy-file.ts";
import { readPolicyPieces } from "../../src/cli/policy-reload.ts";
import { systemPolicyIo } from "../../src/cli/policy-source.ts";
import { applyRuntimeSettings } from "../../src/cli/runtime-settings.ts";
import { readWorkOrder, report } from "../work-order.ts";

applyRuntimeSettings();
const { path, policyPath } = readWorkOrder();
const broker = new Broker({
  path,
  ...(policyPath !== undefined && {
    policy: loadPolicy(policyPath, systemPolicyIo()),
    readPolicy: (threads) => readPolicyPieces(policyPath, threads),
  }),
});
process.on("SIGTERM", () => broker.stop());
report({ type: "ready" });
await broker.run();
