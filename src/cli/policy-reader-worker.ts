/** The thread behind readPolicyPieces(): reads and checks one policy, posts the answer, and ends. */

import { parentPort, workerData } from "node:worker_threads";
import { answerPolicyRead } from "./policy-reload.ts";

parentPort?.postMessage(answerPolicyRead(String(workerData)));
