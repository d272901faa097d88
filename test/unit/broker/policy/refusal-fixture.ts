/** Policy files that must be refused, with the exact place and words of the refusal. */

/** One wrong file. */
export interface Refusal {
  readonly behaviour: string;
  readonly text: string;
  readonly line: number;
  readonly column: number;
  readonly message: string;
}

const KEYS = "allow, deny, topics, user, uid, group, unit, exe, label, any, id";
const FILE_KEYS = "rule, topic, limits, mode";
const ACTIONS = "publish, subscribe, call, serve, replace, monitor, send-fds, receive-fds, channel";
const ID_RANGE = "0 to 4294967294";
const RANGE = 'a uid, or a range such as "1000-1999"';
const UNIT = "a unit, such as sensord.service";

/** Lines 1 to 4: a rule that is right and about everybody. */
const RIGHT = `[[rule]]
allow = ["publish"]
topics = ["sensors.>"]
any = true
`;

/** Lines 1 to 3: a rule that still has to say whom it is about. */
const NOBODY = `[[rule]]
allow = ["publish"]
topics = ["sensors.>"]
`;

/** Makes a refusal; `at` is "line:column". */
function refusal(behaviour: string, text: string, at: string, message: string): Refusal {
  const [line, column] = at.split(":");
  return { behaviour, text, line: Number(line), column: Number(column), message };
}

const NO_RULE = "No rule, expected at least one [[rule]]";
const NOBODY_NAMED =
  'The rule is about nobody, expected "user", "uid", "group", "unit", "exe", "label" or "any = true"';

const FILES: readonly Refusal[] = [
  refusal("an empty file", "", "1:1", NO_RULE),
  refusal("a file of comments", "# nothing\n", "1:1", NO_RULE),
  refusal("an empty list of rules", "rule = []", "1:8", NO_RULE),
  refusal("[rule] for [[rule]]", "[rule]\n", "1:1", got("a table", "[[rule]] tables")),
  refusal("a number for the rules", "rule = 5", "1:8", got("5", "[[rule]] tables")),
  refusal("a number for a rule", "rule = [5]", "1:9", got("5", "a [[rule]] table")),
  refusal("a list for a rule", 'rule = [["a"]]', "1:9", got("a list", "a [[rule]] table")),
  refusal("a date for a rule", "rule = [1979-05-27]", "1:9", got("a date", "a [[rule]] table")),
  refusal("a key beside the rules", `modus = 1\n${RIGHT}`, "1:1", unknownKey("modus", FILE_KEYS)),
  refusal("a misspelt table", "[[rules]]\n", "1:3", unknownKey("rules", FILE_KEYS)),
];

const TOML: readonly Refusal[] = [
  refusal(
    "a key twice",
    `${RIGHT}any = true\n`,
    "5:1",
    toml("Defining a key multiple times is invalid"),
  ),
  refusal(
    "a key twice in an inline table",
    "rule = [{any = true, any = true}]",
    "1:22",
    toml("Defining a key multiple times is invalid"),
  ),
  refusal(
    "a prototype key twice",
    `${RIGHT}__proto__ = 1\n__proto__ = 2\n`,
    "6:1",
    toml("Defining a key multiple times is invalid"),
  ),
  refusal(
    "a string that does not end",
    '[[rule]]\r\nid = "a',
    "2:8",
    "Invalid TOML: Unterminated string constant",
  ),
  refusal("a key without a value", "[[rule]]\nid =", "2:5", toml("Unspecified values are invalid")),
  refusal(
    "nesting too deep",
    `a = ${"[".repeat(50_000)}${"]".repeat(50_000)}`,
    "1:1",
    "Invalid TOML: nests too deep",
  ),
];

const RULE_KEYS: readonly Refusal[] = [
  refusal("an unknown key", `${RIGHT}  tpoics = []\n`, "5:3", unknownKey("tpoics", KEYS)),
  refusal(
    "an unknown key in the place of a needed one",
    '[[rule]]\nallow = ["publish"]\nany = true\ntpoics = ["a"]\n',
    "4:1",
    unknownKey("tpoics", KEYS),
  ),
  refusal("a dotted unknown key", `${RIGHT}a.b.c = 1\n`, "5:1", unknownKey("a", KEYS)),
  refusal("an unknown sub-table", `${RIGHT}[rule.limits]\n`, "5:7", unknownKey("limits", KEYS)),
  refusal("the key constructor", `${RIGHT}constructor = 1`, "5:1", unknownKey("constructor", KEYS)),
  refusal("the key __proto__", `${RIGHT}__proto__ = 1`, "5:1", unknownKey("__proto__", KEYS)),
  refusal("an id that is no string", `${RIGHT}id = 5`, "5:6", got("5", "a string")),
  refusal("an empty id", `${RIGHT}id = ""`, "5:6", badId("")),
  refusal("an id like path:line", `${RIGHT}id = "policy.toml:1"`, "5:6", badId("policy.toml:1")),
  refusal("an id too long", `${RIGHT}id = "${"a".repeat(65)}"`, "5:6", badId("a".repeat(65))),
  refusal(
    "an id twice",
    `${RIGHT}id = "a"\n${RIGHT}id = "a"\n`,
    "10:6",
    'Rule id "a" is taken by the rule at policy.toml:1, expected a new one',
  ),
  refusal(
    "two rules without id on one line",
    'rule = [{allow=["publish"], topics=["a"], any=true}, {deny=["publish"], topics=["b"], user=0}]',
    "1:54",
    'Rule id "policy.toml:1" is taken by the rule at policy.toml:1, expected a new one',
  ),
];

const ACTION_LISTS: readonly Refusal[] = [
  refusal(
    "a rule with neither allow nor deny",
    '\n[[rule]]\ntopics = ["a"]\nany = true\n',
    "2:1",
    'The rule decides nothing, expected "allow" or "deny"',
  ),
  refusal(
    "an empty allow list",
    '[[rule]]\nallow = []\ntopics = ["a"]\nany = true\n',
    "2:9",
    "The list is empty, expected actions",
  ),
  refusal("an empty deny list", `${RIGHT}deny = []`, "5:8", "The list is empty, expected actions"),
  refusal(
    "a string for a list of actions",
    '[[rule]]\nallow = "publish"\ntopics = ["a"]\nany = true\n',
    "2:9",
    got('"publish"', "a list of actions"),
  ),
  refusal(
    "a misspelt action",
    `${RIGHT}deny = ["subscribe", "pubish"]`,
    "5:22",
    `Unknown action "pubish", expected one of ${ACTIONS}`,
  ),
  refusal("an action that is a number", `${RIGHT}deny = [1]`, "5:9", got("1", "an action")),
  refusal(
    "one action allowed and denied",
    `${RIGHT}deny = ["subscribe", "publish"]`,
    "5:22",
    'Action "publish" is in both "allow" and "deny" of this rule',
  ),
];

const TOPICS: readonly Refusal[] = [
  refusal(
    "a rule without topics",
    '[[rule]]\nallow = ["publish"]\nany = true\n',
    "1:1",
    'The rule has no "topics", expected a list of topic patterns',
  ),
  refusal("no topic", topics("[]"), "3:10", "The list is empty, expected topic patterns"),
  refusal("a string", topics('"a"'), "3:10", got('"a"', "a list of topic patterns")),
  refusal("a boolean", topics('["a", true]'), "3:16", got("true", "a topic pattern")),
  refusal("an empty token", topics('["a..b"]'), "3:11", badTopic("a..b", "it has an empty token")),
  refusal("an empty pattern", topics('[""]'), "3:11", badTopic("", "it is empty")),
  refusal(
    "> in the middle",
    topics('["a", "a.>.b"]'),
    "3:16",
    badTopic("a.>.b", '">" is not its last token'),
  ),
];

const WHO: readonly Refusal[] = [
  refusal("a rule about nobody", NOBODY, "1:1", NOBODY_NAMED),
  refusal("any = false", `${NOBODY}any = false`, "4:7", got("false", 'true, or no "any" at all')),
  refusal("any = 1", `${NOBODY}any = 1`, "4:7", got("1", 'true, or no "any" at all')),
  refusal("any beside user", `${RIGHT}user = 0`, "4:1", anyAlone("user")),
  refusal("any beside group", `${RIGHT}group = [0]`, "4:1", anyAlone("group")),
  refusal("an unknown user", `${NOBODY}user = "sensrod"`, "4:8", 'Unknown user "sensrod"'),
  refusal("an unknown user in a list", `${NOBODY}user = [0, "x"]`, "4:12", 'Unknown user "x"'),
  refusal("an unknown group", `${NOBODY}group = "medai"`, "4:9", 'Unknown group "medai"'),
  refusal("a group name for a user", `${NOBODY}user = "media"`, "4:8", 'Unknown user "media"'),
  refusal("an empty user name", `${NOBODY}user = ""`, "4:8", 'Unknown user ""'),
  refusal(
    "a number in quotes",
    `${NOBODY}user = "990"`,
    "4:8",
    'Unknown user "990"; numbers stand without quotes',
  ),
  refusal("no user", `${NOBODY}user = []`, "4:8", "The list is empty, expected names or numbers"),
  refusal("no group", `${NOBODY}group = []`, "4:9", "The list is empty, expected names or numbers"),
  refusal("a uid below 0", `${NOBODY}user = -1`, "4:8", badNumber("-1")),
  refusal("the uid 2^32 - 1", `${NOBODY}user = 4294967295`, "4:8", badNumber("4294967295")),
  refusal("the gid 2^32", `${NOBODY}group = [44, 4294967296]`, "4:14", badNumber("4294967296")),
  refusal(
    "a uid beyond 64 bits",
    `${NOBODY}user = 18446744073709551616`,
    "4:8",
    badNumber("18446744073709551616"),
  ),
  refusal("a float", `${NOBODY}user = 0.5`, "4:8", got("the float 0.5", "a name or a number")),
  refusal("a whole float", `${NOBODY}user = 0.0`, "4:8", got("the float 0", "a name or a number")),
  refusal("a boolean user", `${NOBODY}user = true`, "4:8", got("true", "a name or a number")),
  refusal("lists in lists", `${NOBODY}user = [[0]]`, "4:9", got("a list", "a name or a number")),
  refusal(
    "a table",
    `${NOBODY}user = {name = "root"}`,
    "4:8",
    got("a table", "a name or a number"),
  ),
  ...["65534", "[0, 65534]"].map((value) =>
    refusal(
      `the overflow uid as ${value}`,
      `${NOBODY}user = ${value}`,
      value.startsWith("[") ? "4:12" : "4:8",
      standsForOthers("user"),
    ),
  ),
  refusal(
    "the name of the overflow uid",
    `${NOBODY}user = "nobody"`,
    "4:8",
    standsForOthers("user"),
  ),
  refusal("the overflow gid", `${NOBODY}group = 65534`, "4:9", standsForOthers("group")),
  refusal(
    "a range with the overflow uid",
    `${NOBODY}uid = "1000-70000"`,
    "4:7",
    standsForOthers("user"),
  ),
  refusal("a name for a range", `${NOBODY}uid = "root"`, "4:7", got('"root"', RANGE)),
  refusal("an open range", `${NOBODY}uid = "1000-"`, "4:7", got('"1000-"', RANGE)),
  refusal("a negative uid in a list", `${NOBODY}uid = [5, -1]`, "4:11", badNumber("-1")),
  refusal("a range that runs down", `${NOBODY}uid = ["9-5"]`, "4:8", badRange("9-5")),
  refusal("a range too far", `${NOBODY}uid = "0-4294967295"`, "4:7", badRange("0-4294967295")),
  refusal("no range", `${NOBODY}uid = []`, "4:7", "The list is empty, expected uids or ranges"),
  refusal("a unit without its type", `${NOBODY}unit = "sensord"`, "4:8", got('"sensord"', UNIT)),
  refusal(
    "a path for a unit",
    `${NOBODY}unit = "/a.slice/b.c"`,
    "4:8",
    got('"/a.slice/b.c"', UNIT),
  ),
  refusal("an empty unit", `${NOBODY}unit = [""]`, "4:9", got('""', UNIT)),
  refusal("a number for a unit", `${NOBODY}unit = 1`, "4:8", got("1", UNIT)),
  refusal("a relative path", `${NOBODY}exe = "bin/a"`, "4:7", got('"bin/a"', "an absolute path")),
  refusal(
    "a path with ..",
    `${NOBODY}exe = "/a/../b"`,
    "4:7",
    got('"/a/../b"', "an absolute path"),
  ),
  refusal(
    "a path of a directory",
    `${NOBODY}exe = ["/a/"]`,
    "4:8",
    got('"/a/"', "an absolute path"),
  ),
  refusal("an empty label", `${NOBODY}label = ""`, "4:9", got('""', "a label")),
  refusal("any beside unit", `${RIGHT}unit = "*"`, "4:1", anyAlone("unit")),
  refusal("a sub-table", `${NOBODY}user.name = "x"`, "4:1", got("a table", "a name or a number")),
];

const TOPIC_SETTINGS: readonly Refusal[] = [
  refusal(
    "an unknown key of a topic",
    '[[topic]]\ntopics = ["a"]\nretian = true\n',
    "3:1",
    unknownKey("retian", "topics, fds, message-bytes-max, retain, overflow, fds-denied"),
  ),
  refusal(
    "a setting without topics",
    "[[topic]]\nretain = true\n",
    "1:1",
    'The setting has no "topics", expected a list of topic patterns',
  ),
  refusal(
    "a setting that sets nothing",
    '[[topic]]\ntopics = ["a"]\n',
    "1:1",
    "The setting sets nothing, expected a key beside its topics",
  ),
  refusal(
    "topics twice",
    '[[topic]]\ntopics = ["a"]\nretain = true\n[[topic]]\ntopics = ["b", "a"]\nretain = true\n',
    "5:16",
    'Topics "a" have their settings at policy.toml:1 already',
  ),
  refusal("a wrong retain", setting("retain = 1"), "3:10", got("1", "true or false")),
  refusal(
    "an unknown kind of file",
    setting('fds = ["file", "fiel"]'),
    "3:16",
    'Unknown kind of file "fiel", expected one of memfd-sealed, memfd, file-read-only, file, ' +
      "pipe, socket, eventfd, pidfd, tty, device, directory, path",
  ),
  refusal("no kind", setting("fds = []"), "3:7", "The list is empty, expected kinds of files"),
  refusal(
    "an unknown overflow policy",
    setting('overflow = "drop"'),
    "3:12",
    'Unknown overflow policy "drop", expected one of drop-oldest, drop-newest, ' +
      "latest-per-topic, disconnect, block",
  ),
  refusal(
    "an unknown word for denied files",
    setting('fds-denied = "keep"'),
    "3:14",
    'Unknown word "keep", expected one of withhold, drop',
  ),
  refusal(
    "a message size of 0",
    setting("message-bytes-max = 0"),
    "3:21",
    "Wrong number: got 0, expected 1 to 9007199254740991",
  ),
  refusal(
    "a message size with a fraction",
    setting("message-bytes-max = 1.5"),
    "3:21",
    got("the float 1.5", "a whole number"),
  ),
];

const LIMIT_KEYS =
  "connections, subscriptions, groups, topics, services, queued-bytes, retained, retained-bytes, " +
  "fds, pending-calls, message-bytes, fd-ttl-ms, stall-ms";

const LIMITS: readonly Refusal[] = [
  refusal("an unknown limit", "[limits]\nfd = 1\n", "2:1", unknownKey("fd", `${LIMIT_KEYS}, user`)),
  refusal("no limit", "[limits]\n", "1:1", `No limit, expected one of ${LIMIT_KEYS}`),
  refusal("limits that are a number", "limits = 5", "1:10", got("5", "a [limits] table")),
  refusal(
    "a negative limit",
    "[limits]\nfds = -1\n",
    "2:7",
    "Wrong number: got -1, expected 0 to 9007199254740991",
  ),
  refusal(
    "limits of nobody",
    "[[limits.user]]\nfds = 1\n",
    "1:1",
    'Whom the limits are about is not said once, expected "user" or "uid"',
  ),
  refusal(
    "limits of a user and a range",
    "[[limits.user]]\nuser = 0\nuid = 1\nfds = 1\n",
    "1:1",
    'Whom the limits are about is not said once, expected "user" or "uid"',
  ),
  refusal(
    "a user without limits",
    "[[limits.user]]\nuser = 0\n",
    "1:1",
    `No limit, expected one of ${LIMIT_KEYS}`,
  ),
  refusal(
    "limits of an unknown user",
    '[[limits.user]]\nuser = "sensrod"\nfds = 1\n',
    "2:8",
    'Unknown user "sensrod"',
  ),
  refusal(
    "a user with limits twice, under another name",
    '[[limits.user]]\nuser = "root"\nfds = 1\n[[limits.user]]\nuser = "toor"\nfds = 2\n',
    "4:1",
    "uid 0 has limits at policy.toml:1 already",
  ),
  refusal(
    "ranges of limits that overlap",
    '[[limits.user]]\nuid = "5-9"\nfds = 1\n[[limits.user]]\nuid = ["0-4", "9-10"]\nfds = 2\n',
    "4:1",
    "uid 9-10 has limits at policy.toml:1 already",
  ),
];

const MODES: readonly Refusal[] = [
  refusal(
    "an unknown mode",
    `mode = "permisive"\n${RIGHT}`,
    "1:8",
    'Unknown mode "permisive", expected one of enforce, permissive',
  ),
  refusal("a mode of a rule", `${RIGHT}mode = "enforce"`, "5:1", unknownKey("mode", KEYS)),
];

const ORDER: readonly Refusal[] = [
  refusal(
    "the first of two faults of the shape",
    `${NOBODY}user = -1\nid = 5\n`,
    "4:8",
    badNumber("-1"),
  ),
  refusal(
    "the first of two faults of the meaning",
    `${RIGHT}id = "a"\n${NOBODY}id = "a"\ngroup = ["nope"]\nuser = "nobody-here"\n`,
    "9:6",
    'Rule id "a" is taken by the rule at policy.toml:1, expected a new one',
  ),
];

/** By what is wrong in them. */
export const REFUSALS: readonly Refusal[] = [
  ...FILES,
  ...TOML,
  ...RULE_KEYS,
  ...ACTION_LISTS,
  ...TOPICS,
  ...WHO,
  ...TOPIC_SETTINGS,
  ...LIMITS,
  ...MODES,
  ...ORDER,
];

function topics(value: string): string {
  return `[[rule]]\nallow = ["publish"]\ntopics = ${value}\nany = true\n`;
}

function got(actual: string, expected: string): string {
  return `Wrong value: got ${actual}, expected ${expected}`;
}

function toml(parserMessage: string): string {
  return `Invalid TOML: ${parserMessage}`;
}

function unknownKey(key: string, keys: string): string {
  return `Unknown key "${key}", expected one of ${keys}`;
}

function anyAlone(key: string): string {
  return `"any" stands for everybody, expected no "${key}" beside it`;
}

function badId(id: string): string {
  return `Bad rule id "${id}", expected 1 to 64 letters, digits, ".", "_" and "-"`;
}

function badTopic(pattern: string, why: string): string {
  return `Bad topic pattern "${pattern}": ${why}`;
}

function badNumber(number: string): string {
  return `Wrong number: got ${number}, expected ${ID_RANGE}`;
}

function badRange(range: string): string {
  return `Wrong range: got ${range}, expected a first and a last of ${ID_RANGE}`;
}

function setting(line: string): string {
  return `[[topic]]\ntopics = ["a"]\n${line}\n`;
}

function standsForOthers(key: "user" | "group"): string {
  const why = `65534 stands for every ${key} of other namespaces`;
  return `Unusable ${key}: ${why}, expected a ${key} of this one`;
}
