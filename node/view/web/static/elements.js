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
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);
export const short = (peer) => (peer ? "…" + peer.slice(-8) : "–"); // as protocol.identity.short_peer
export const shortId = (id) => id.slice(0, 10); // as node.platform.log.short_id

/** The gain of a row, as everything writes it. */
export const gainText = (row) => (row && row.gain_text) || "–";

/** The same of an effect as the command line's data has it. */
export const effectText = (effect) => (effect ? effect.text : "–");

/** What stands behind a value or a gain where the objective measures itself; nothing where a judge does. */
export const measuredSuffix = (about) => (about.measured === "judged" ? "" : `, ${about.measured}`);

/** A value of the metric: 3.5516, 0.051234, 12346; as node.ledger.projections.effects.value_text. */
export function valueText(value) {
  const size = Math.abs(value);
  return value === 0 || (size >= 0.1 && size < 1e4) ? value.toFixed(4) : String(Number(value.toPrecision(5)));
}

/** The same with what the metric and what cost contributed, where the record's pairs tell it. */
export function effectWithParts(effect, measured) {
  return effectText(effect) + measured + (effect && effect.parts_text ? `: ${effect.parts_text}` : "");
}

/** A table in a box that scrolls by itself. columns: names; rows: arrays of a text, an element or {text, kind}. */
export function table(columns, rows, caption = null) {
  const cells = (row) => row.map((cell) => {
    const plain = cell instanceof Node || typeof cell !== "object";
    return plain ? make("td", {}, cell) : make("td", { class: cell.kind }, cell.text);
  });
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption || columns.join(", ") },
    make("table", {},
      caption ? make("caption", {}, caption) : null,
      make("thead", {}, make("tr", {}, ...columns.map((name) => make("th", { scope: "col" }, name)))),
      make("tbody", {}, ...rows.map((row) => make("tr", {}, ...cells(row))))));
}

/** A button that looks like a link and opens a record. */
export function opener(id, text) {
  return make("button", { type: "button", class: "link", "data-record": id }, text);
}

export function nothing(text) {
  return make("p", { class: "soft" }, text);
}
