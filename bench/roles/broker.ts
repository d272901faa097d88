/** The real broker as a benchmark process: as `seqbus broker` runs it, without the command line. */

import { Broker } from "../../src/broker/broker.ts";
import { readWorkOrder, report } from "../work-order.ts";

const broker = new Broker({ path: readWorkOrder().path });
process.on("SIGTERM", () => broker.stop());
report({ type: "ready" });
await broker.run();
