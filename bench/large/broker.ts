/** The real broker in this benchmark. */

import { Broker } from "../../src/broker/broker.ts";
import { readLargeOrder, say } from "./large-order.ts";

const broker = new Broker({ path: readLargeOrder().path });
say({ type: "ready" });
await broker.run();
