/** The option that says which bus is meant, the same for every command of a client. */

/** As commander takes it. */
export const SOCKET_OPTION = "-s, --socket <path>";

/** Its help for clients; a broker has another default. */
export const CLIENT_SOCKET_HELP =
  "the broker's socket (default: $SEQBUS_SOCKET, else the user's bus, else the system's)";
