/** Policy files that must be refused, with the exact place and words of the refusal. */

/** One wrong file. */
export interface Refusal {
  readonly behaviour: string;
  readonly text: string;
  readonly line: number;
  readonly column: number;
  readonly message: string;
}

const KEYS = "allow, deny, topics, user, group, any, id";
const ACTIONS = "publish, subscribe, send-fds, receive-fds";
const ID_RANGE = "0 to 4294967294";

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
const ANY_ALONE = '"any" stands for everybody, expected no "user" or "group" beside it';

const FILES: readonly Refusal[] = [
  refusal("an empty file", "", "1:1", NO_RULE),
  refusal("a file of comments", "# nothing\n", "1:1", NO_RULE),
  refusal("an empty list of rules", "rule = []", "1:8", NO_RULE),
  refusal("[rule] for [[rule]]", "[rule]\n", "1:1", got("a table", "[[rule]] tables")),
  refusal("a number for the rules", "rule = 5", "1:8", got("5", "[[rule]] tables")),
  refusal("a number for a rule", "rule = [5]", "1:9", got("5", "a [[rule]] table")),
  refusal("a list for a rule", 'rule = [["a"]]', "1:9", got("a list", "a [[rule]] table")),
  refusal("a date for a rule", "rule = [1979-05-27]", "1:9", got("a date", "a [[rule]] table")),
  refusal("a key beside the rules", `mode = 1\n${RIGHT}`, "1:1", unknownKey("mode", "rule")),
  refusal("a misspelt table", "[[rules]]\n", "1:3", unknownKey("rules", "rule")),
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
    'Rule id "a" is taken by an earlier rule, expected a new one',
  ),
  refusal(
    "two rules without id on one line",
    'rule = [{allow=["publish"], topics=["a"], any=true}, {deny=["publish"], topics=["b"], user=0}]',
    "1:54",
    'Rule id "policy.toml:1" is taken by an earlier rule, expected a new one',
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
  refusal(
    "a rule about nobody",
    NOBODY,
    "1:1",
    'The rule is about nobody, expected "user", "group" or "any = true"',
  ),
  refusal("any = false", `${NOBODY}any = false`, "4:7", got("false", 'true, or no "any" at all')),
  refusal("any = 1", `${NOBODY}any = 1`, "4:7", got("1", 'true, or no "any" at all')),
  refusal("any beside user", `${RIGHT}user = 0`, "4:1", ANY_ALONE),
  refusal("any beside group", `${RIGHT}group = [0]`, "4:1", ANY_ALONE),
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
  refusal("a sub-table", `${NOBODY}user.name = "x"`, "4:1", got("a table", "a name or a number")),
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
    'Rule id "a" is taken by an earlier rule, expected a new one',
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

function badId(id: string): string {
  return `Bad rule id "${id}", expected 1 to 64 letters, digits, ".", "_" and "-"`;
}

function badTopic(pattern: string, why: string): string {
  return `Bad topic pattern "${pattern}": ${why}`;
}

function badNumber(number: string): string {
  return `Wrong number: got ${number}, expected ${ID_RANGE}`;
}
