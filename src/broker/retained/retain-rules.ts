/** Which topics have no last value, by their `[[topic]]` setting. Pure. */

import type { Mode, Policy } from "../policy/rules.ts";

/** A setting with `retain = false`. */
export interface RetainRefusal {
  /** The setting, as `path:line`. */
  readonly place: string;
  /** Whether the refusal is carried out, or only told; of the file that holds the setting. */
  readonly mode: Mode;
}

/** The setting that lets nobody leave a last value on a topic; undefined where all who publish may. */
export function retainRefusalOf(policy: Policy, topic: string): RetainRefusal | undefined {
  const setting = policy.settings.find(topic, "retain");
  if (setting === undefined || setting.retain === true) return undefined;
  const { path, line } = setting;
  const mode = policy.files.find((file) => file.path === path)?.mode ?? "enforce";
  return { place: `${path}:${line}`, mode };
}

/** The refusal as a sentence. */
export function retainRefusalMessage(topic: string, { place }: RetainRefusal): string {
  return `Cannot keep a last value of "${topic}": ${place} says retain = false`;
}
