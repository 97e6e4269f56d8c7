// The view of the swarm: who is in it, who ran whose discoveries again or adopted them, and news as they travel.

import { ago, badge, card, draw, effectText, folded, gainText, heading, make, nothing, peerLink, recordLink, short, shortId, table } from "./elements.js";
import { inWords } from "./now.js";

const MOST_WIDTH = 760, LEAST_WIDTH = 320, MOST_HEIGHT = 500, FEW_HEIGHT = 320;
const SIDE = 100; // the same to the left and the right
const ROOM = 52; // around the outermost nodes, for their names
const NEAR_THE_MIDDLE = 60; // pixels across: there a name has its place above or below
const FEW = 5; // so many nodes and fewer take less room
const MOST_EDGES = 300;
const MOST_REPORTS = 20;
const MOST_PAIRS = 40; // of nodes, in the list
const STEP_MILLISECONDS = 450; // between two news that are shown again
const TRAVEL_MILLISECONDS = 900;
const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

export function swarm(place, page) {
  const graph = make("div", { class: "graph" }), news = make("p", { class: "readout", "aria-live": "polite" });
  const replay = make("button", { type: "button", onclick: again }, "Show the latest news again");
  const members = make("div", {}), pairs = make("div", {}), reports = make("div", {}), connected = make("div", {});
  place.append(heading("Swarm", "Every node whose records are here, larger the more it found. An arrow leads from a discovery's author to a node that ran it again; "
    + "thicker the more often."), make("section", { class: "card" }, legend(), graph, news, replay), members, pairs, connected, reports);
  let data = null, places = new Map(), svg = null, timer = null;

  async function read() {
    data = await page.ask("/api/swarm") || data;
    if (data) shown();
    listReports();
  }

  function shown() {
    const width = Math.max(LEAST_WIDTH, Math.min(MOST_WIDTH, graph.clientWidth));
    places = placed(data.nodes, width, data.nodes.length > FEW ? MOST_HEIGHT : FEW_HEIGHT);
    const downs = data.nodes.length ? [...places.values()].map(([, y]) => y) : [0], top = Math.min(...downs) - ROOM;
    const edges = data.edges.filter((edge) => places.has(edge.from) && places.has(edge.to)).slice(0, MOST_EDGES);
    svg = draw("svg", { viewBox: `0 ${top} ${width} ${Math.max(...downs) + ROOM - top}`, role: "group", "aria-label": `${data.nodes.length} nodes and ${data.edges.length} pairs of nodes where one ran a claim of the other again or adopted it` },
      arrowHeads(), ...edges.map((edge) => edgeLine(places.get(edge.to), places.get(edge.from), edge)),
      ...data.nodes.map((node) => nodeMark(node, places.get(node.peer), [width / 2, (Math.min(...downs) + Math.max(...downs)) / 2])));
    graph.replaceChildren(data.nodes.length ? svg : nothing("No records yet."));
    replay.hidden = !data.news.length || calm();
    const left = data.left_out.nodes ? nothing(`and ${data.left_out.nodes} more nodes`) : "";
    members.replaceChildren(card("Nodes", table(["node", "class", "experiments", "discoveries", "confirmed", "reports", "best gain", "its word here", "last"], data.nodes.slice(0, 60).map((node) => [
      peerLink(node.peer, page.about.you), node.compute_class || "–", node.experiments, node.discoveries, node.confirmed, node.reports, node.gain_text || "–",
      `${node.standing}${node.weight === null || node.you ? "" : ` (${node.weight.toFixed(2)})`}`, node.last ? ago(node.last.time) : "–"])), left));
    listPairs();
    listConnected();
  }

  /** What the arrows say, in words. */
  function listPairs() {
    const rows = [...data.edges].sort((one, other) => other.reports + other.adopted - one.reports - one.adopted).slice(0, MOST_PAIRS);
    pairs.replaceChildren(card("Who runs whose discoveries again", rows.length
      ? folded(`${rows.length} of ${data.edges.length} pairs of nodes`, table(["found by", "run again by", "reports", "hold", "do not", "adopted", "audits", "at a larger scale"], rows.map((edge) => [peerLink(edge.to, page.about.you), peerLink(edge.from, page.about.you),
        edge.reports, edge.supports, edge.contradicts, edge.adopted, edge.audits, edge.transfers])))
      : nothing("Nobody has run a claim of another again yet.")));
  }

  function listConnected() {
    const running = page.now && page.now.running, peers = running ? running.peers : [];
    connected.replaceChildren(card("Connected now", peers.length
      ? table(["node", "class", "address"], peers.map((peer) => [peerLink(peer.peer, page.about.you), peer.compute_class || "–", { text: peer.address, kind: "text" }]))
      : nothing(running ? "Not connected to any peer. `autoresearch-node invite` prints what another machine needs." : "No node is running in this home.")));
  }

  function listReports() {
    const claim = (row) => page.records.get(row.of);
    const all = page.rows.filter((row) => row.kind === "replication");
    reports.replaceChildren(card("Claims run again", all.length ? folded(`the latest ${Math.min(all.length, MOST_REPORTS)} of ${all.length}`, table(["claim", "by", "claimed gain", "found gain", "decision", "adopted"], all.slice(-MOST_REPORTS).reverse().map((row) => [
      { text: recordLink(row.of, claim(row)?.title || shortId(row.of)), kind: "text" }, peerLink(row.by, page.about.you), gainText(claim(row)), gainText(row),
      badge(row.route ? "adopted" : row.decision), row.route || "no"]))) : nothing("None yet.")));
  }

  /** A dot travels from one node to another, and what it is stands below. */
  function travel(from, to, row) {
    const start = places.get(from), end = places.get(to) || places.get(page.about.you);
    if (row) news.replaceChildren(...inWords(row, page));
    if (!svg || !start || calm()) return;
    pulse(start);
    if (!end || start === end) return;
    const dot = draw("circle", { class: "travelling", r: 7, cx: 0, cy: 0 });
    svg.append(dot);
    const [x1, y1] = start, [x2, y2] = end;
    dot.animate([{ transform: `translate(${x1}px, ${y1}px)`, opacity: 1 }, { transform: `translate(${x2}px, ${y2}px)`, opacity: 0.9 }],
      { duration: TRAVEL_MILLISECONDS, easing: "ease-in-out" }).onfinish = () => dot.remove();
  }

  /** A ring that grows around the node that wrote the record. */
  function pulse([x, y]) {
    const ring = draw("circle", { class: "pulse", cx: x, cy: y, r: 10 });
    svg.append(ring);
    ring.animate([{ r: "10px", opacity: 1 }, { r: "42px", opacity: 0 }], { duration: TRAVEL_MILLISECONDS, easing: "ease-out" }).onfinish = () => ring.remove();
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
    fresh.slice(-10).forEach((row, index) => setTimeout(() => travel(row.by, row.of ? page.records.get(row.of)?.by : page.about.you, row), index * STEP_MILLISECONDS));
  }

  read();
  return { board: read, rows: arrived, redraw: () => data && shown(), close: () => clearInterval(timer) };
}

function legend() {
  return make("ul", { class: "legend" }, ...[["green", "this node"], ["good", "its word is checked here, or vouched for"], ["grey", "not checked yet"], ["red", "caught or forked"]].map(([name, text]) =>
    make("li", { class: `dot ${name}` }, text)), make("li", { class: "ringed" }, "connected now"), make("li", { class: "arrow orange" }, "adopted"), make("li", { class: "arrow red" }, "does not hold"));
}

/** Where every node is: a few on one ellipse; of more, this one is in the middle and the others on one or two around it. */
function placed(nodes, width, height) {
  const places = new Map(), few = nodes.length <= FEW;
  const others = few ? nodes : nodes.filter((node) => !node.you);
  for (const node of nodes) places.set(node.peer, [width / 2, height / 2]);
  const outer = others.length > 40 ? Math.ceil(others.length * 0.62) : others.length;
  if (nodes.length > 1) {
    others.forEach((node, index) => {
      const inside = index >= outer, count = inside ? others.length - outer : outer, angle = (2 * Math.PI * (inside ? index - outer : index)) / count - (count === 2 ? Math.PI : Math.PI / 2);
      const far = inside ? 0.62 : 1, wide = Math.min(few ? 210 : Infinity, width / 2 - SIDE);
      places.set(node.peer, [width / 2 + far * wide * Math.cos(angle), height / 2 + far * (height / 2 - ROOM) * Math.sin(angle)]);
    });
  }
  return places;
}

const KINDS = ["", "adopted", "against"];

function arrowHeads() {
  return draw("defs", {}, ...KINDS.map((kind) => draw("marker", { id: `head-${kind}`, class: `head ${kind}`, viewBox: "0 0 10 10", refX: 9, refY: 5, markerWidth: 11, markerHeight: 11,
    markerUnits: "userSpaceOnUse", orient: "auto" }, draw("path", { d: "M0 0L10 5L0 10Z" }))));
}

/** A curve from the author of what was found to the node that ran it again, so that there and back lie beside each other. */
function edgeLine([x1, y1], [x2, y2], edge) {
  const kind = edge.adopted ? "adopted" : edge.contradicts > edge.supports ? "against" : "";
  const long = Math.hypot(x2 - x1, y2 - y1) || 1, [right, down] = [(x2 - x1) / long, (y2 - y1) / long], bend = 0.12 * long, room = 24;
  const [midX, midY] = [(x1 + x2) / 2 - down * bend, (y1 + y2) / 2 + right * bend];
  return draw("path", { class: `edge ${kind}`, "marker-end": `url(#head-${kind})`,
    d: `M${x1 + right * room} ${y1 + down * room}Q${midX} ${midY} ${x2 - right * room - down * 4} ${y2 - down * room + right * 4}`,
    "stroke-width": Math.min(1 + Math.log2(1 + edge.reports + edge.audits + edge.adopted + edge.transfers), 4) },
  draw("title", {}, `${short(edge.from)} ran ${edge.reports} claims of ${short(edge.to)} again (${edge.supports} hold, ${edge.contradicts} do not) and adopted ${edge.adopted}`));
}

/** Its name stands on the side away from the middle, beside it where it lies to the left or the right. */
function nodeMark(node, [x, y], [middleX, middleY]) {
  const radius = Math.min(26, 7 + 2.2 * Math.sqrt(node.discoveries));
  const label = node.you ? "this node" : short(node.peer), across = x - middleX, beside = Math.abs(across) > NEAR_THE_MIDDLE && Math.abs(across) > Math.abs(y - middleY);
  const place = beside ? { x: x + Math.sign(across) * (radius + 9), y: y + 4, "text-anchor": across > 0 ? "start" : "end" }
    : { x, y: y < middleY ? y - radius - 9 : y + radius + 18, "text-anchor": "middle" };
  const long = 7.2 * label.length, left = beside ? (across > 0 ? x - radius : x - radius - 9 - long) : x - Math.max(radius, long / 2), up = beside ? y - radius : Math.min(y - radius, place.y - 14);
  return draw("a", { href: `#/peer/${node.peer}`, class: "node" },
    draw("title", {}, `${label}: ${node.experiments} experiments, ${node.discoveries} discoveries, ${node.confirmed} confirmed, best ${node.gain_text || effectText(null)}`),
    draw("rect", { class: "hit", x: left, y: up, width: beside ? 2 * radius + 9 + long : 2 * Math.max(radius, long / 2), height: beside ? 2 * radius : 2 * radius + 24 }),
    node.online ? draw("circle", { class: "ring", cx: x, cy: y, r: radius + 4 }) : null,
    draw("circle", { class: `mark ${node.you ? "you" : node.standing}`, cx: x, cy: y, r: radius }),
    draw("text", place, label));
}
