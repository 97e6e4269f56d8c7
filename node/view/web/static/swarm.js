// The view of the swarm: who is in it, who ran whose discoveries again or adopted them, and news as they travel.

import { ago, badge, card, draw, effectText, gainText, heading, make, nothing, peerLink, recordLink, short, shortId, table } from "./elements.js";
import { inWords } from "./now.js";

const [WIDTH, HEIGHT] = [760, 480];
const MOST_EDGES = 300;
const MOST_REPORTS = 60;
const STEP_MILLISECONDS = 450; // between two news that are shown again
const TRAVEL_MILLISECONDS = 900;
const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

export function swarm(place, page) {
  const graph = make("div", { class: "graph" }), news = make("p", { class: "readout", "aria-live": "polite" });
  const replay = make("button", { type: "button", onclick: again }, "Show the latest news again");
  const members = make("div", {}), reports = make("div", {}), connected = make("div", {});
  place.append(heading("Swarm", "Every node whose records are here. A line joins two of which one ran a claim of the other again; it is orange where it adopted one. "
    + "A ring: connected to this node now."), make("section", { class: "card" }, graph, news, replay), members, connected, reports);
  let data = null, places = new Map(), svg = null, timer = null;

  async function read() {
    data = await page.ask("/api/swarm") || data;
    if (data) shown();
    listReports();
  }

  function shown() {
    places = placed(data.nodes);
    const edges = data.edges.filter((edge) => places.has(edge.from) && places.has(edge.to)).slice(0, MOST_EDGES);
    svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": `${data.nodes.length} nodes and ${data.edges.length} pairs of nodes where one ran a claim of the other again or adopted it` },
      ...edges.map((edge) => edgeLine(places.get(edge.from), places.get(edge.to), edge)),
      ...data.nodes.map((node) => nodeMark(node, places.get(node.peer))));
    graph.replaceChildren(data.nodes.length ? svg : nothing("No records yet."));
    replay.hidden = !data.news.length || calm();
    const left = data.left_out.nodes ? nothing(`and ${data.left_out.nodes} more nodes`) : "";
    members.replaceChildren(card("Nodes", table(["node", "class", "experiments", "discoveries", "confirmed", "reports", "best gain", "its word here", "last"], data.nodes.slice(0, 60).map((node) => [
      peerLink(node.peer, page.about.you), node.compute_class || "–", node.experiments, node.discoveries, node.confirmed, node.reports, node.gain_text || "–",
      `${node.standing}${node.weight === null || node.you ? "" : ` (${node.weight.toFixed(2)})`}`, node.last ? ago(node.last.time) : "–"])), left));
    listConnected();
  }

  function listConnected() {
    const running = page.now && page.now.running, peers = running ? running.peers : [];
    connected.replaceChildren(card("Connected now", peers.length
      ? table(["node", "class", "address"], peers.map((peer) => [peerLink(peer.peer, page.about.you), peer.compute_class || "–", { text: peer.address, kind: "text" }]))
      : nothing(running ? "Not connected to any peer. `autoresearch-node invite` prints what another machine needs." : "No node is running in this home.")));
  }

  function listReports() {
    const claims = new Map(page.rows.filter((row) => row.kind === "experiment").map((row) => [row.id, row]));
    const all = page.rows.filter((row) => row.kind === "replication");
    reports.replaceChildren(card("Claims run again", all.length ? table(["claim", "by", "claimed gain", "found gain", "decision", "adopted"], all.slice(-MOST_REPORTS).reverse().map((row) => [
      { text: recordLink(row.of, claims.has(row.of) ? claims.get(row.of).title : shortId(row.of)), kind: "text" }, peerLink(row.by, page.about.you), gainText(claims.get(row.of)), gainText(row),
      badge(row.decision), row.route || "no"])) : nothing("None yet."), all.length > MOST_REPORTS ? nothing(`The latest ${MOST_REPORTS} of ${all.length}.`) : ""));
  }

  /** A dot travels from one node to another, and what it is stands below. */
  function travel(from, to, row) {
    const start = places.get(from), end = places.get(to) || places.get(page.about.you);
    const titles = new Map(page.rows.filter((each) => each.title).map((each) => [each.id, each.title]));
    if (row) news.replaceChildren(...inWords(row, titles, page.about.you));
    if (!svg || !start || !end || calm()) return;
    const dot = draw("circle", { class: "travelling", r: 7, cx: 0, cy: 0 });
    svg.append(dot);
    const [x1, y1] = start, [x2, y2] = end;
    dot.animate([{ transform: `translate(${x1}px, ${y1}px)`, opacity: 1 }, { transform: `translate(${x2}px, ${y2}px)`, opacity: 0.9 }],
      { duration: TRAVEL_MILLISECONDS, easing: "ease-in-out" }).onfinish = () => dot.remove();
  }

  function again() {
    let next = 0;
    clearInterval(timer);
    timer = setInterval(() => {
      const one = data.news[next++];
      if (!one) return clearInterval(timer);
      travel(one.by, one.to || one.via || page.about.you, page.rows[one.number]);
    }, STEP_MILLISECONDS);
  }

  function arrived(fresh) {
    const authors = new Map(page.rows.filter((row) => row.kind === "experiment").map((row) => [row.id, row.by]));
    fresh.slice(-10).forEach((row, index) => setTimeout(() => travel(row.by, row.of ? authors.get(row.of) : page.about.you, row), index * STEP_MILLISECONDS));
  }

  read();
  return { board: read, rows: arrived, live: () => {}, close: () => clearInterval(timer) };
}

/** Where every node is: this one in the middle, the others on an ellipse, or on two where they are many. */
function placed(nodes) {
  const places = new Map(), others = nodes.filter((node) => !node.you);
  for (const node of nodes) if (node.you) places.set(node.peer, [WIDTH / 2, HEIGHT / 2]);
  const outer = others.length > 40 ? Math.ceil(others.length * 0.62) : others.length;
  others.forEach((node, index) => {
    const inside = index >= outer, count = inside ? others.length - outer : outer, angle = (2 * Math.PI * (inside ? index - outer : index)) / count - Math.PI;
    const far = inside ? 0.62 : 1;
    places.set(node.peer, [WIDTH / 2 + far * (WIDTH / 2 - 90) * Math.cos(angle), HEIGHT / 2 + far * (HEIGHT / 2 - 48) * Math.sin(angle)]);
  });
  return places;
}

function edgeLine([x1, y1], [x2, y2], edge) {
  return draw("line", { class: edge.adopted ? "edge adopted" : edge.contradicts > edge.supports ? "edge against" : "edge", x1, y1, x2, y2,
    "stroke-width": Math.min(1 + Math.log2(1 + edge.reports + edge.audits + edge.adopted), 6) },
  draw("title", {}, `${short(edge.from)} ran ${edge.reports} claims of ${short(edge.to)} again (${edge.supports} hold, ${edge.contradicts} do not) and adopted ${edge.adopted}`));
}

function nodeMark(node, [x, y]) {
  const radius = Math.min(26, 7 + 2.2 * Math.sqrt(node.discoveries));
  const label = node.you ? "this node" : short(node.peer);
  return draw("a", { href: `#/peer/${node.peer}`, class: "node" },
    draw("title", {}, `${label}: ${node.experiments} experiments, ${node.discoveries} discoveries, ${node.confirmed} confirmed, best ${node.gain_text || effectText(null)}`),
    node.online ? draw("circle", { class: "ring", cx: x, cy: y, r: radius + 4 }) : null,
    draw("circle", { class: `mark ${node.you ? "you" : node.standing}`, cx: x, cy: y, r: radius }),
    draw("text", { x, y: y + radius + 16, "text-anchor": "middle" }, label));
}
