// The lists: leaderboards, discoveries, what was tried, peers and adoptions between them, replications,
// what carries over to larger scales, ideas.

import { byId, draw, effectText, gainText, make, nothing, opener, short, shortId, table } from "./elements.js";

const MOST_ROWS = 200;
const MOST_IN_GRAPH = 24;

const title = (id, text) => ({ text: opener(id, text), kind: "text" });

export function listLeaderboard(nodes, you) {
  const classes = new Map();
  for (const node of nodes) {
    const name = node.compute_class || "no class yet";
    classes.set(name, [...(classes.get(name) || []), node]);
  }
  const columns = ["", "node", "replicated gain", "of its steps", "own figure", "own, on holdout", "tried", "re-run"];
  const boards = [...classes].map(([name, members]) => table(columns, members.slice(0, MOST_ROWS).map((node, place) => [
    place + 1,
    short(node.peer) + (node.peer === you ? " (you)" : ""),
    effectText(node.replicated),
    `${node.replicated_steps} of ${node.steps.length}`,
    effectText(node.gain),
    effectText(node.holdout),
    node.experiments,
    node.replications,
  ]), `class ${name}`));
  byId("boards").replaceChildren(...(boards.length ? boards : [nothing("No records yet.")]));
}

export function listDiscoveries(discoveries) {
  const wanted = byId("standing").value, words = byId("find").value.toLowerCase();
  offer(byId("standing"), [...new Set(discoveries.map((found) => found.standing))]);
  const matching = discoveries.filter((found) => (!wanted || found.standing === wanted)
    && (!words || `${found.title} ${found.category} ${found.id} ${found.author}`.toLowerCase().includes(words)));
  const rows = matching.slice(0, MOST_ROWS).map((found) => [
    title(found.id, found.title),
    found.category,
    `${short(found.author)} ${found.compute_class}`,
    found.replicated ? `${effectText(found.replicated)} by ${found.reports}`
      : found.unchecked ? `${effectText(found.unchecked)} by ${found.keys}, not checked` : "–",
    effectText(found.claimed),
    effectText(found.holdout),
    { text: standing(found), kind: found.standing },
  ]);
  const columns = ["discovery", "category", "by", "others found", "claimed gain", "on holdout", "standing"];
  byId("found").replaceChildren(rows.length ? table(columns, rows) : nothing("None yet."), counted(matching.length));
}

/** The verdict with its reach, or what is missing for one. */
function standing(found) {
  if (found.reach) return `${found.standing}, ${found.reach}`;
  const notes = [];
  if (found.standing === "open" && found.missing_reports) notes.push("too early to say");
  if (found.made_up) notes.push(`${found.made_up} made up`);
  return notes.length ? `${found.standing} (${notes.join(", ")})` : found.standing;
}

function offer(select, values) {
  const had = new Set([...select.options].map((option) => option.value));
  for (const value of values) if (!had.has(value)) select.append(make("option", { value }, value));
}

function counted(count) {
  return count > MOST_ROWS ? nothing(`The first ${MOST_ROWS} of ${count}; search to see others.`) : "";
}

export function listTried(categories) {
  const rows = categories.map((one) => [
    { text: one.category, kind: "text" },
    one.tried,
    one.kept,
    one.failed,
    one.median_text || "–",
    one.best_id ? opener(one.best_id, one.best_text) : "–",
  ]);
  const columns = ["category", "tried", "kept", "failed", "median gain", "best claimed gain"];
  byId("categories").replaceChildren(rows.length ? table(columns, rows) : nothing("Nothing yet."));
}

export function listPeers(running, you) {
  const peers = running ? running.peers : [];
  const rows = peers.map((peer) => [peer.peer === you ? "you" : short(peer.peer), peer.compute_class || "–",
    { text: peer.address, kind: "text" }]);
  byId("connected").replaceChildren(rows.length
    ? table(["connected now", "class", "address"], rows)
    : nothing(running ? "Not connected to any peer now." : "No node is running in this home."));
}

/** Adoptions between nodes: an arrow leads from the node that found something to the one that adopted it. */
export function drawGraph(rows, nodes, you, connected) {
  const members = nodes.slice(0, MOST_IN_GRAPH).map((node) => node.peer);
  if (members.length < 2) return byId("graph").replaceChildren();
  const place = new Map(members.map((peer, index) => {
    const angle = (2 * Math.PI * index) / members.length - Math.PI / 2;
    return [peer, [250 + 150 * Math.cos(angle), 190 + 150 * Math.sin(angle)]];
  }));
  const author = new Map(rows.filter((row) => row.kind === "experiment").map((row) => [row.id, row.by]));
  const taken = new Map();
  for (const row of rows) {
    if (row.kind !== "replication" || !row.route) continue;
    const pair = JSON.stringify([author.get(row.of), row.by]);
    taken.set(pair, (taken.get(pair) || 0) + 1);
  }
  const parts = [];
  for (const [pair, count] of taken) {
    const [from, to] = JSON.parse(pair).map((peer) => place.get(peer));
    if (from && to) parts.push(arrow(from, to, count));
  }
  for (const [peer, [x, y]] of place) {
    const here = peer === you, near = connected.has(peer);
    parts.push(draw("circle", { cx: x, cy: y, r: here ? 9 : 6, fill: here ? "var(--green)" : "var(--blue)",
      stroke: near ? "var(--orange)" : "none", "stroke-width": 3 }));
    parts.push(draw("text", { x, y: y - 12, "text-anchor": "middle", "font-size": 12, fill: "currentColor" },
      here ? "you" : short(peer)));
  }
  return byId("graph").replaceChildren(
    draw("svg", { viewBox: "0 0 500 380", role: "img", "aria-label":
      `${members.length} nodes and ${taken.size} pairs of nodes where one adopted a discovery of the other` }, ...parts),
    make("p", { class: "note" }, "A line leads from the node that found something (thin end) to the one that adopted it (thick end); "
      + "ringed: connected to this node now."));
}

function arrow([x1, y1], [x2, y2], count) {
  const length = Math.hypot(x2 - x1, y2 - y1) || 1, width = Math.min(1 + count, 7);
  const [across, down] = [((y2 - y1) / length) * width, ((x1 - x2) / length) * width];
  return draw("path", { d: `M${x1} ${y1}L${x2 + across} ${y2 + down}L${x2 - across} ${y2 - down}Z`,
    fill: "var(--grey)", "fill-opacity": 0.6 });
}

export function listReplications(rows) {
  const titles = new Map(rows.filter((row) => row.kind === "experiment").map((row) => [row.id, row]));
  const onlyAgainst = byId("against").checked;
  const all = rows.filter((row) => row.kind === "replication" && (!onlyAgainst || row.decision === "contradicts"));
  const lines = all.slice(-MOST_ROWS).reverse().map((row) => {
    const claim = titles.get(row.of);
    return [title(row.of, claim ? claim.title : shortId(row.of)), short(row.by), row.class,
      gainText(claim), gainText(row), { text: row.decision, kind: row.decision }, row.route || "no"];
  });
  const columns = ["claim", "re-run by", "class", "claimed gain", "found gain", "decision", "adopted"];
  byId("reports").replaceChildren(lines.length ? table(columns, lines) : nothing("None."),
    all.length > MOST_ROWS ? nothing(`The latest ${MOST_ROWS} of ${all.length}.`) : "");
}

export function listHypotheses(rows) {
  const offered = rows.filter((row) => row.kind === "hypothesis").slice(-MOST_ROWS).reverse();
  byId("hypotheses").replaceChildren(offered.length
    ? table(["idea", "category", "by"], offered.map((row) => [title(row.id, row.title), row.category, short(row.by)]))
    : nothing("None yet."));
}

export function listTransfers({ categories, transfers }) {
  byId("transfers").hidden = byId("to-transfers").hidden = !transfers.length;
  const share = (rate, error) => `${(100 * rate).toFixed(0)} % ± ${(100 * error).toFixed(0)}`;
  byId("carried").replaceChildren(table(
    ["category", "scale", "tried", "carry over", "rate", "gain there / here"],
    categories.map((one) => [
      { text: one.category, kind: "text" }, one.scale, one.tried, one.carried, share(one.rate, one.rate_error),
      one.ratio === null ? "–" : `${one.ratio.toFixed(2)} ± ${one.ratio_error.toFixed(2)}`,
    ])));
  byId("promoted").replaceChildren(table(
    ["discovery", "scale", "by", "claimed gain", "gain there", "decision"],
    transfers.map((one) => [
      title(one.id, one.title || shortId(one.discovery)), one.scale, short(one.peer), effectText(one.claimed),
      effectText(one.effect), { text: one.decision.replace("_", " "), kind: one.decision },
    ])));
}

export function listStrategy(strategy) {
  byId("strategy").hidden = byId("to-strategy").hidden = !strategy;
  if (!strategy) return;
  byId("why").textContent = strategy.why;
  byId("arms").replaceChildren(table(
    ["category", "proposer", "chance of success", "gain if so", "cost", "gain an hour", "tried", "kept", "next"],
    strategy.arms.map((arm) => [
      { text: arm.category, kind: "text" }, arm.proposer,
      `${(100 * arm.chance).toFixed(0)} % ± ${(100 * arm.chance_deviation).toFixed(0)}`,
      arm.gain_text, `${arm.seconds.toFixed(0)} s`, arm.rate_text,
      arm.tried, arm.kept, arm.has_ideas ? `${(100 * arm.next).toFixed(0)} %` : "no idea left",
    ])));
}
