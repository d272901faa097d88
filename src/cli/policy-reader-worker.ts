/** The thread behind readPolicyPieces(): reads and checks one policy, posts the answer, and ends. */

import { parentPort, workerData } from "node:worker_threads";
import { StartSignal } from "../broker/closing/start-signal.ts";
import { answerPolicyRead, type PolicyReaderData } from "./policy-reload.ts";

const { path, signal }: PolicyReaderData = workerData;
new StartSignal(signal).give();
parentPort?.postMessage(answerPolicyRead(path));
