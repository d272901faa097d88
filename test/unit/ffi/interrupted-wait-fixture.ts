/** Blocks in epoll_wait while another process sends it signals, and prints what wait() returned. */

import { Epoll } from "../../../src/ffi/epoll.ts";
import { outcomeName } from "../../../src/ffi/syscall-result.ts";

process.on("SIGUSR2", () => {});
const script = `while kill -USR2 ${process.pid}; do sleep 0.02; done`;
const sender = Bun.spawn(["/bin/sh", "-c", script], { stdio: ["ignore", "ignore", "ignore"] });
const outcome = new Epoll().wait(10_000);
sender.kill("SIGKILL");
await sender.exited;
process.stdout.write(JSON.stringify({ outcome: outcomeName(outcome) }));
