// Building the page. Text from records is only ever a text node: nothing here, or anywhere else, parses markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes, event listeners (as functions named onclick and so on) and children. */
export function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for a part of a picture. */
export function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);
export const short = (peer) => (peer ? "…" + peer.slice(-8) : "–"); // as protocol.identity.short_peer
export const shortId = (id) => id.slice(0, 10); // as node.platform.log.short_id
export const percent = (share) => `${(100 * share).toFixed(0)} %`;

/** The gain of a row, as everything writes it. */
export const gainText = (row) => (row && row.gain_text) || "–";

/** The same of an effect as the command line's data has it. */
export const effectText = (effect) => (effect ? effect.text : "–");

/** What stands behind a value or a gain where the objective measures itself; nothing where a judge does. */
export const measuredSuffix = (about) => (about.measured === "judged" ? "" : `, ${about.measured}`);

/** A value of the metric: 3.5516, 0.051234, 12346; as node.ledger.projections.effects.value_text. */
export function valueText(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  return value === 0 || (size >= 0.1 && size < 1e4) ? value.toFixed(4) : String(Number(value.toPrecision(5)));
}

/** The same with what the metric and what cost contributed, where the record's pairs tell it. */
export function effectWithParts(effect, measured) {
  return effectText(effect) + measured + (effect && effect.parts_text ? `: ${effect.parts_text}` : "");
}

/** Seconds as "42 s", "3 min", "2.4 h", "5 days". */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${(seconds / 3600).toFixed(1)} h` : `${Math.round(seconds / 86400)} days`;
}

/** How long ago a record says that it was made; in an element that also has the whole time. */
export function ago(milliseconds) {
  const then = new Date(milliseconds), seconds = (Date.now() - milliseconds) / 1000;
  const text = seconds < 5 ? "just now" : `${duration(seconds)} ago`;
  return make("time", { datetime: then.toISOString(), title: `${then.toISOString().slice(0, 19).replace("T", " ")} UTC` }, text);
}

export const recordLink = (id, text) => make("a", { href: `#/record/${id}` }, text || shortId(id));
export const peerLink = (peer, you) => make("a", { href: `#/peer/${peer}`, class: "peer" }, peer === you ? "this node" : short(peer));
export const badge = (kind, text) => make("span", { class: `badge ${kind}` }, text || kind.replaceAll("_", " "));
export const nothing = (text) => make("p", { class: "soft" }, text);

/** A card: a section with a heading. */
export function card(title, ...children) {
  return make("section", { class: "card" }, make("h2", {}, title), ...children);
}

/** The heading of a view, with what it is about in a sentence. */
export function heading(title, note = null) {
  return make("div", { class: "heading" }, make("h1", {}, title), note ? make("p", { class: "note" }, note) : null);
}

/** A figure with its name; what a gain's text says beside the gain, its error and pairs, stands smaller. */
export function tile(name, figure, note = null) {
  const [, gain, error] = /^([+-].*?)( ± .*)$/.exec(figure) || [null, figure, null];
  return make("div", { class: "tile" }, make("p", { class: "figure" }, typeof gain === "string" ? gain.replaceAll(" ", "\u00a0") : gain, error ? [" ", make("small", {}, error.trim())] : null), make("p", { class: "name" }, name),
    note ? make("p", { class: "soft" }, note) : null);
}

/**
 * A table; on a phone every row is a small card of its own. columns: names; rows: arrays of a text, an element or
 * {text, kind}. Where it is wider than its place, it scrolls by itself, and its edge is shaded.
 */
export function table(columns, rows, caption = null) {
  const cells = (row) => row.map((cell, index) => {
    const plain = cell instanceof Node || typeof cell !== "object" || cell === null;
    const label = { "data-label": columns[index] };
    return plain ? make("td", label, cell === null ? "–" : cell) : make("td", { class: cell.kind, ...label }, cell.text);
  });
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption || columns.filter(Boolean).join(", ") },
    make("table", {},
      caption ? make("caption", {}, caption) : null,
      make("thead", {}, make("tr", {}, ...columns.map((name) => (name ? make("th", { scope: "col" }, name) : make("td", {}))))),
      make("tbody", {}, ...rows.map((row) => make("tr", {}, ...cells(row))))));
}

/** A long table, open where there is room for it. */
export const folded = (summary, content) => make("details", { open: matchMedia("(min-width: 44rem)").matches }, make("summary", {}, summary), content);

/** Lines of an edit, as a unified diff has them. */
export function diff(lines) {
  if (lines === null || lines === undefined) return nothing("The sources have not arrived yet.");
  if (!lines.length) return nothing("Both are the same.");
  const kind = (line) => (/^(---|\+\+\+|@@)/.test(line) ? "where" : line[0] === "+" ? "add" : line[0] === "-" ? "del" : null);
  return make("pre", { tabindex: "0", "aria-label": "The edit as a unified diff" },
    ...lines.map((line) => make("span", { class: kind(line) }, line || " ")));
}
