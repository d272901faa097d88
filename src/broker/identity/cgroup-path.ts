/**
 * What the path of a cgroup says: systemd unit, slice, container. Pure.
 *
 * Reads from the root downwards and takes the outermost name of each kind. The root of the tree
 * belongs to the system; below a unit its owner may have been given leave to create cgroups with any
 * name (every user has, below user@UID.service), so those must never pass for a unit of the system.
 */

/** What a cgroup path says; undefined for what it does not. */
export interface CgroupPlace {
  /**
   * A unit of the system's manager: `sensord.service`, `session-2.scope`. For a unit of a user's
   * manager, both joined by a slash: `user@1000.service/app-firefox-123.scope`. A unit name holds no
   * slash, so what a user calls his unit cannot look like one of the system, as long as no wildcard
   * of a rule stands for a slash.
   */
  readonly unit: string | undefined;
  /** The innermost slice above that unit: `system.slice`, `user-1000.slice`. */
  readonly slice: string | undefined;
  /** Id of a Docker, Podman, containerd or CRI-O container, or the name of a machine. */
  readonly container: string | undefined;
}

const UNIT_NAME_CHARACTERS_MAX = 255;
const SLICE = /^[\w:.\\@-]+\.slice$/;
/** The kinds of units that processes run in. */
const UNIT = /^[\w:.\\@-]+\.(service|scope|socket|mount|swap)$/;
const USER_MANAGER = /^user@\d+\.service$/;
const CONTAINER_SCOPE = /^(?:docker|libpod|cri-containerd|crio)-([0-9a-f]{64})\.scope$/;
const MACHINE_SCOPE = /^machine-(.+)\.scope$/;
const NSPAWN_SERVICE = /^systemd-nspawn@(.+)\.service$/;
const CONTAINER_ID = /^[0-9a-f]{64}$/;
/** Parents that container engines use where systemd does not manage the cgroups. */
const ENGINE_PARENT = /^(docker|libpod_parent|kubepods)$/;
const LXC_PAYLOAD = /^lxc\.payload\.(.+)$/;

const DELETED = " (deleted)";

/**
 * Finds unit, slice and container in the path of a version 2 cgroup.
 * @param path from the root of the hierarchy, with a leading slash, as /proc/PID/cgroup shows it
 * @returns undefined for a path that says nothing: it climbs with `..`, since it lies outside of the
 *   reader's cgroup namespace, or the cgroup was removed, which a zombie outlives
 */
export function parseCgroupPath(path: string): CgroupPlace | undefined {
  if (!path.startsWith("/") || path.endsWith(DELETED)) return undefined;
  const names = path.split("/").slice(1).map(unescapeName);
  if (names.includes("..")) return undefined;
  const sliceCount = countSlices(names, 0);
  const slice = names[sliceCount - 1];
  const outer = unitAt(names, sliceCount);
  const unit = outer === undefined ? undefined : withUserUnit(outer, names, sliceCount + 1);
  const container =
    outer === undefined ? containerOfEngine(names) : containerOfUnit(outer, slice === MACHINES);
  return { unit, slice, container };
}

const MACHINES = "machine.slice";

/** systemd puts `_` before a name that the kernel could take for one of its own files. */
function unescapeName(name: string): string {
  return name.startsWith("_") ? name.slice(1) : name;
}

/** How many slices follow one another from an index on; a slice lies in slices alone. */
function countSlices(names: readonly string[], first: number): number {
  let index = first;
  while (isUnitName(names[index], SLICE)) index += 1;
  return index - first;
}

function unitAt(names: readonly string[], index: number): string | undefined {
  const name = names[index];
  return isUnitName(name, UNIT) ? name : undefined;
}

function isUnitName(name: string | undefined, kind: RegExp): name is string {
  return name !== undefined && name.length <= UNIT_NAME_CHARACTERS_MAX && kind.test(name);
}

function withUserUnit(outer: string, names: readonly string[], below: number): string {
  if (!USER_MANAGER.test(outer)) return outer;
  const inner = unitAt(names, below + countSlices(names, below));
  return inner === undefined ? outer : `${outer}/${inner}`;
}

function containerOfUnit(unit: string, isMachine: boolean): string | undefined {
  const id = CONTAINER_SCOPE.exec(unit)?.[1];
  if (id !== undefined || !isMachine) return id;
  const name = (MACHINE_SCOPE.exec(unit) ?? NSPAWN_SERVICE.exec(unit))?.[1];
  return name === undefined ? undefined : unescapeUnit(name);
}

/** systemd-escape(1): `\x2d` stands for the byte 0x2d. Only ASCII can be in the name of a machine. */
function unescapeUnit(name: string): string {
  return name.replaceAll(/\\x([0-7][0-9a-f])/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  );
}

function containerOfEngine(names: readonly string[]): string | undefined {
  const [parent = ""] = names;
  if (ENGINE_PARENT.test(parent)) return names.find((name) => CONTAINER_ID.test(name));
  return LXC_PAYLOAD.exec(parent)?.[1];
}
