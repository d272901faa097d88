/**
 * The style of the benchmark's page, in light and in dark. Colours fill bars and lines only: all that is
 * read has the colour of text, or one with a contrast of at least 4.5 to the card.
 */

import { PEER_KINDS } from "./peers/peer-kinds.ts";

const KINDS = ["floor", "ours", "ours-library", "peer", "npm"] as const;

/** Colours of lines by relay; each is told from the others on both cards. */
const LINES = ["floor", "broker", ...PEER_KINDS] as const;

const LIGHT = `--page:#fbfaf8;--card:#fff;--text:#1d1c1a;--soft:#635f59;--grid:#e7e3dc;
--floor:#a69f94;--ours:#d2481f;--ours-library:#ee9a78;--peer:#2b6a8f;--npm:#7fb0cc;--won:#176b3a;--lost:#a3002b;
--lost-card:#fdeef0;--link:#1f5f86;
--by-floor:#77716a;--by-broker:#d2481f;--by-redis:#b0127b;--by-nats:#1f6fd0;--by-mosquitto:#1d7d4f;
--by-zeromq:#8a6d00;--by-dbus-daemon:#5b4bc4;--by-dbus-broker:#0b7a8c`;

const DARK = `--page:#161513;--card:#1f1e1b;--text:#ece8e1;--soft:#aaa49a;--grid:#35322d;
--floor:#6f6a62;--ours:#ff7345;--ours-library:#b85a36;--peer:#5aa9d6;--npm:#3b6f8c;--won:#6fd39a;--lost:#ff8095;
--lost-card:#3a2024;--link:#8cc6e8;
--by-floor:#a09a90;--by-broker:#ff7345;--by-redis:#f08cc8;--by-nats:#6db3f2;--by-mosquitto:#5fcf95;
--by-zeromq:#d9bd4f;--by-dbus-daemon:#a99cff;--by-dbus-broker:#4fc9dc`;

const TEXT = `
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);font:15px/1.5 system-ui,sans-serif}
main{max-width:1000px;margin:0 auto;padding:40px 20px 80px}
h1{font-size:30px;margin:0 0 8px;letter-spacing:-.02em}
h2{font-size:21px;margin:40px 0 0}section h2{font-size:17px;margin:0 0 8px}
h3{font-size:15px;margin:0 0 10px}
header p,header ul,.legend,.caption{color:var(--soft);font-size:13px;margin:0 0 6px;padding-left:0;list-style:none}
section,nav,details{background:var(--card);border:1px solid var(--grid);border-radius:10px;
padding:18px 20px;margin:18px 0}
.losses{border-left:5px solid var(--lost)}.losses h2{color:var(--lost)}.losses h3{margin:14px 0 6px}
.losses ul{margin:0;padding-left:20px;font-size:14px}
nav ul{list-style:none;margin:0;padding:0;font-size:13px}nav li{padding:2px 0}nav b{margin-right:8px}
a{color:var(--link)}nav a{text-decoration:none}nav a:hover{text-decoration:underline}
`;

const TABLES = `
table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}
th{text-align:left;color:var(--soft);font-weight:500}th,td{padding:4px 12px 4px 0;white-space:nowrap}
td{border-top:1px solid var(--grid)}td:first-child{white-space:normal;min-width:150px}
.leads{font-size:12px}.leads td{padding-right:10px}.leads span{white-space:nowrap}
.leads td:is(:nth-child(3),:nth-child(5),:nth-child(9)){white-space:normal;min-width:80px}
.leads .verdict{font-weight:600;white-space:normal;min-width:120px}.ahead .verdict{color:var(--won)}
.behind td{background:var(--lost-card)}.behind .verdict{color:var(--lost);font-weight:700}
.wide,details{overflow-x:auto}summary{cursor:pointer}details table{margin-top:12px}
`;

const PLOTS = `
.legend{display:flex;flex-wrap:wrap;gap:6px 20px;margin:22px 0 0}
.legend i{display:inline-block;width:12px;height:12px;border-radius:3px;margin-right:7px}
.plot svg+.caption{margin-top:18px}
svg{width:100%;height:auto;display:block;font:12px system-ui,sans-serif}
.grid{stroke:var(--grid)}.tick{fill:var(--soft);text-anchor:middle;font-size:11px}
.who{fill:var(--text);text-anchor:end}.value{fill:var(--text);font-variant-numeric:tabular-nums}
.column{fill:var(--soft);font-size:11px}
.cost{fill:var(--soft);font-size:11px;text-anchor:end;font-variant-numeric:tabular-nums}
.spread{stroke:var(--text);stroke-width:1.5;opacity:.55}.range{stroke-width:4;stroke-linecap:round;opacity:.5}
.line{fill:none;stroke-width:2.2;stroke-linejoin:round}.line.by-broker{stroke-width:3.2}
.leader{fill:none;stroke-width:1.4}.name{fill:var(--text);font-size:11.5px}
.line.dashed{stroke-dasharray:7 4}.line.floor-c{stroke-dasharray:2 3}
.line.floor-c-stretches{stroke-dasharray:9 3 2 3}
@media(max-width:640px){.plot{overflow-x:auto}.plot svg{min-width:680px}}
`;

const COLOURS = [
  ...KINDS.map(
    (kind) => `.legend .${kind}{background:var(--${kind})}
.bar.${kind},.mark.${kind}{fill:var(--${kind})}.range.${kind}{stroke:var(--${kind})}`,
  ),
  ...LINES.map((relay) => `.by-${relay}{stroke:var(--by-${relay})}`),
].join("\n");

/** All of it. */
export const STYLE = `
:root{color-scheme:light dark;${LIGHT}}
@media(prefers-color-scheme:dark){:root{${DARK}}}${TEXT}${TABLES}${PLOTS}${COLOURS}
`;
