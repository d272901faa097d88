/**
 * Where buses are found. A leaf: client and command line must agree on it. Pure; the environment
 * is handed in.
 */

/** The variable that names a socket path and overrides every default. */
export const SOCKET_VARIABLE = "SEQBUS_SOCKET";

/** The system bus. */
export const SYSTEM_SOCKET_PATH = "/run/seqbus/bus.sock";

/** Environment variables by name. */
export type Environment = { readonly [name: string]: string | undefined };

/**
 * The bus of the user who runs this process.
 * @returns undefined where the session has no XDG_RUNTIME_DIR
 */
export function userSocketPath(environment: Environment): string | undefined {
  const directory = environment["XDG_RUNTIME_DIR"];
  return directory === undefined || directory === "" ? undefined : `${directory}/seqbus/bus.sock`;
}

/**
 * Socket paths that a client without a wish of its own tries, best first.
 * @returns one path where SEQBUS_SOCKET names it, else the user's bus (if any) and the system's
 */
export function clientSocketPaths(environment: Environment): string[] {
  const named = environment[SOCKET_VARIABLE];
  if (named !== undefined && named !== "") return [named];
  const user = userSocketPath(environment);
  return user === undefined ? [SYSTEM_SOCKET_PATH] : [user, SYSTEM_SOCKET_PATH];
}

/**
 * The socket path of a broker that was given none: SEQBUS_SOCKET, the system's for root, else the
 * user's.
 * @returns undefined where an ordinary user has no XDG_RUNTIME_DIR
 */
export function brokerSocketPath(environment: Environment, uid: number): string | undefined {
  const named = environment[SOCKET_VARIABLE];
  if (named !== undefined && named !== "") return named;
  return uid === 0 ? SYSTEM_SOCKET_PATH : userSocketPath(environment);
}
