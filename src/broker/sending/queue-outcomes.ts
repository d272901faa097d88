/** What becomes of frames that a send queue is handed, and of its flush(). Numbers: they cost nothing. */

/** deliver() and push(): taken, sent or queued. */
export const ACCEPTED = 1;
/** deliver(): the queue is full; the loss is recorded and will be told. push(): evict the client. */
export const QUEUE_FULL = 2;
/** The other side is gone; close the connection. */
export const PEER_GONE = 3;
/** flush(): the socket takes no more now; wait for EPOLLOUT on `blockedFd`. */
export const BLOCKED = 4;
/** deliverWithFds(): the kernel does not pass on what the frame is nothing without. */
export const FDS_NOT_PASSED = 5;
/** deliver(): the queue is full, and the client wants to be closed rather than miss anything. */
export const SLOW_READER = 6;
/**
 * deliverWithFds(): as FDS_NOT_PASSED, since the client has closed its fd lane. As a rule it is going
 * away, and the kernel closes the lane of a killed process before its socket.
 */
export const NO_FD_LANE = 7;
