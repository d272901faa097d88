/** Leads the demo: starts the processes, waits for what they report, checks all of it, and prints. */

import { chownSync, existsSync, writeFileSync } from "node:fs";
import type { Sender } from "../../client/message.ts";
import { stdout, styled } from "../output.ts";
import { printable } from "../printable-text.ts";
import {
  type Cast,
  FILES_TOPIC,
  INTRUDER_RULE,
  LETTER,
  LETTER_FILE,
  LETTER_MODE,
  PATTERNS,
  type Part,
  POLICY_FILE,
  policyText,
  READINGS,
  SOCKET_FILE,
} from "./cast.ts";
import { type Checks, FailedCheck } from "./checks.ts";
import type { Report } from "./reports.ts";
import type { Stage } from "./stage.ts";
import type { StageProcess } from "./stage-process.ts";

type ReportOf<Type extends Report["type"]> = Extract<Report, { type: Type }>;

const DISPLAYS = ["kitchen", "wall"] as const;

/** The readings that each display must get, in order. */
const EXPECTED_READINGS = {
  kitchen: READINGS.filter(({ topic }) => topic === PATTERNS.kitchen[0]),
  wall: READINGS,
};

/** One performance. */
export class Director {
  readonly #stage: Stage;
  readonly #cast: Cast;
  readonly #checks: Checks;

  constructor(stage: Stage, cast: Cast, checks: Checks) {
    this.#stage = stage;
    this.#cast = cast;
    this.#checks = checks;
  }

  /**
   * Plays it all.
   * @throws {FailedCheck} at the first thing that is not as it should be
   */
  async perform(): Promise<void> {
    const broker = await this.#startBroker();
    const displays = await this.#seatDisplays();
    await this.#showReadings(displays);
    await this.#showFile(displays);
    await this.#showRefusal(broker);
    await this.#bow(broker, displays);
  }

  async #startBroker(): Promise<StageProcess> {
    writeFileSync(this.#stage.path(POLICY_FILE), policyText(this.#cast), { mode: 0o644 });
    const words = ["broker", "--socket", SOCKET_FILE, "--policy", POLICY_FILE];
    const broker = this.#stage.start("the broker", words);
    this.#checks.equal(
      "what the broker says",
      await broker.nextLine(),
      `listening on ${SOCKET_FILE}`,
    );
    print(`A broker (pid ${broker.pid}) serves ${this.#stage.path(SOCKET_FILE)} by a policy file.`);
    print(
      this.#cast.hasOwnUsers
        ? "Every client below is a process of its own, with a user of its own."
        : `Every client below is a process of its own. All run as uid ${this.#cast.uids.sensor}: ` +
            "each gets a user of its own where root runs this.",
    );
    return broker;
  }

  /** Starts both displays together and waits until they have subscribed. */
  async #seatDisplays(): Promise<Displays> {
    const displays = { kitchen: this.#start("kitchen"), wall: this.#start("wall") };
    for (const part of DISPLAYS) {
      const { uid } = await this.#report(displays[part], "subscribed");
      this.#checks.equal(`uid of the ${part} display`, uid, this.#cast.uids[part]);
    }
    return displays;
  }

  async #showReadings(displays: Displays): Promise<void> {
    title("1. A sensor publishes readings, two displays get them. The kernel says who sent them.");
    const sensor = this.#start("sensor");
    for (const part of DISPLAYS) {
      this.#printDisplay(part, PATTERNS[part][0]);
      for (const { topic, celsius } of EXPECTED_READINGS[part]) {
        const reading = await this.#report(displays[part], "reading");
        this.#checks.equal(`topic at the ${part} display`, reading.topic, topic);
        this.#checks.equal(`reading at the ${part} display`, reading.celsius, celsius);
        this.#checkSender(reading.sender, "sensor", sensor);
        const value = `${reading.celsius} °C`.padEnd(9);
        print(`      ${reading.topic.padEnd(28)} ${value} ${from(reading.sender)}`);
      }
    }
    const copies = EXPECTED_READINGS.kitchen.length + EXPECTED_READINGS.wall.length;
    await this.#checkPublished(sensor, copies);
  }

  async #showFile(displays: Displays): Promise<void> {
    title("2. An opener hands out an open file that the displays cannot open themselves.");
    this.#writeLetter();
    const opener = this.#start("opener");
    const owner = this.#cast.uids.opener;
    print(
      this.#cast.hasOwnUsers
        ? `   ${LETTER_FILE} belongs to uid ${owner}, mode 0600; the opener publishes it, opened`
        : `   the opener opens ${LETTER_FILE}, removes its name, and publishes it`,
    );
    for (const part of DISPLAYS) {
      const file = await this.#report(displays[part], "file");
      this.#checks.equal(`topic at the ${part} display`, file.topic, FILES_TOPIC);
      this.#checkSender(file.sender, "opener", opener);
      const wanted = this.#cast.hasOwnUsers ? "EACCES" : "ENOENT";
      this.#checks.equal(`open("${file.path}") by the ${part} display`, file.openError, wanted);
      this.#checks.equal(`what the ${part} display reads`, file.contents, LETTER);
      this.#printDisplay(part, PATTERNS[part][1]);
      print(`      open("${file.path}") by itself   ${styled("red", file.openError)}`);
      print(`      through the file it was given  ${styled("green", `"${file.contents}"`)}`);
      print(`      ${from(file.sender)}`);
    }
    await this.#checkPublished(opener, DISPLAYS.length);
  }

  async #showRefusal(broker: StageProcess): Promise<void> {
    const topic = this.#cast.forbiddenTopic;
    title("3. An intruder tries to publish where it has no right to, and is refused.");
    const intruder = this.#start("intruder");
    const { code, rule } = await this.#report(intruder, "refused");
    this.#checks.equal("the refusal", code, "REJECTED_BY_POLICY");
    this.#checks.equal("the rule that refuses", rule, INTRUDER_RULE);
    this.#checks.equal("exit code of the intruder", await intruder.exitCode(), 0);
    if (!this.#cast.hasOwnUsers) {
      print(`   (One user has one set of rights, so it is ${topic} that nobody may publish on.)`);
    }
    const uid = this.#cast.uids.intruder;
    print(`   intruder (uid ${uid}) publishes on ${styled("cyan", topic)}`);
    print(
      `      ${styled("red", "refused")} by rule ${styled("red", String(rule))} of ${POLICY_FILE}`,
    );
    const log = (await broker.nextLogLine()) ?? "";
    const isTold = log.includes(`denied publish on "${topic}"`) && log.includes(`uid=${uid} `);
    this.#checks.equal("the broker's log of it", isTold, true);
    print(`      the broker's log: ${styled("dim", printable(log))}`);
  }

  /** Everybody ends by themselves, and nobody got more than was shown. */
  async #bow(broker: StageProcess, displays: Displays): Promise<void> {
    broker.terminate();
    this.#checks.equal("exit code of the broker", await broker.exitCode(), 0);
    for (const part of DISPLAYS) {
      const surplus = await displays[part].remainingLines();
      this.#checks.equal(`what else the ${part} display got`, surplus, []);
      const exitCode = await displays[part].exitCode();
      this.#checks.equal(`exit code of the ${part} display`, exitCode, 0);
    }
    const isSocketLeft = existsSync(this.#stage.path(SOCKET_FILE));
    this.#checks.equal("whether the socket is left", isSocketLeft, false);
  }

  #printDisplay(part: Part, pattern: string): void {
    print(
      `   ${part} display (uid ${this.#cast.uids[part]}) subscribes to ${styled("cyan", pattern)}`,
    );
  }

  #start(part: Part): StageProcess {
    const { hasOwnUsers, uids, forbiddenTopic } = this.#cast;
    const becomes = hasOwnUsers ? uids[part] : undefined;
    const engagement = { part, becomes, forbiddenTopic, unlinksLetter: !hasOwnUsers };
    return this.#stage.start(`the ${part} process`, ["demo-actor", JSON.stringify(engagement)]);
  }

  #writeLetter(): void {
    const path = this.#stage.path(LETTER_FILE);
    const { opener } = this.#cast.uids;
    writeFileSync(path, LETTER, { mode: LETTER_MODE });
    if (this.#cast.hasOwnUsers) chownSync(path, opener, opener);
  }

  async #report<Type extends Report["type"]>(
    child: StageProcess,
    type: Type,
  ): Promise<ReportOf<Type>> {
    const report: Report = JSON.parse(await child.nextLine());
    if (report.type === "failed") {
      throw new FailedCheck(`The demo failed: ${child.name}: ${report.message}`);
    }
    this.#checks.equal(`the report of ${child.name}`, report.type, type);
    return report as ReportOf<Type>;
  }

  #checkSender(sender: Sender, part: Part, child: StageProcess): void {
    this.#checks.equal(`uid of the sender, ${child.name}`, sender.uid, this.#cast.uids[part]);
    this.#checks.equal(`pid of the sender, ${child.name}`, sender.pid, child.pid);
  }

  async #checkPublished(child: StageProcess, copies: number): Promise<void> {
    const { delivered } = await this.#report(child, "published");
    this.#checks.equal(`copies delivered for ${child.name}`, delivered, copies);
    this.#checks.equal(`exit code of ${child.name}`, await child.exitCode(), 0);
  }
}

type Displays = Readonly<Record<(typeof DISPLAYS)[number], StageProcess>>;

function from({ uid, pid }: Sender): string {
  return `from ${styled("green", `uid ${uid}, pid ${pid}`)}`;
}

function title(text: string): void {
  print(`\n${styled("bold", text)}`);
}

function print(line: string): void {
  stdout.write(`${line}\n`);
}
