/**
 * ZeroMQ's own forwarder between publishers and subscribers: zmq_proxy() over XSUB and XPUB. Runs in
 * Node, since the npm package asks libuv for something that Bun does not have.
 * Arguments: the path where publishers connect, the path where subscribers do.
 */

import * as zeromq from "zeromq";

const [publishersPath, subscribersPath] = process.argv.slice(2);
const incoming = new zeromq.XSubscriber({ receiveHighWaterMark: 0 });
const outgoing = new zeromq.XPublisher({ sendHighWaterMark: 0 });
await outgoing.bind(`ipc://${subscribersPath}`);
await incoming.bind(`ipc://${publishersPath}`);
await new zeromq.Proxy(incoming, outgoing).run();
