// The map of ideas: categories as areas by how much was tried, coloured by what it gave; then the ideas of one of them;
// what the node expects of each kind; and what carries over to larger scales.

import { ago, badge, card, effectText, folded, heading, make, nothing, peerLink, percent, recordLink, shortId, table } from "./elements.js";
import { treemap } from "./treemap.js";

export function map(place, page, [category = ""]) {
  const area = make("div", { class: "treemap" }), list = make("div", {}), more = make("div", {});
  const crumb = make("p", {}), scale = make("div", {});
  place.append(heading("Ideas tried", "Area: how many experiments. Colour: their mean gain, from orange (worse) over grey to blue (better)."), crumb,
    scale, area, list, more);
  let data = null;

  async function read() {
    data = await page.ask("/api/map") || data;
    if (data) shown();
    after();
  }

  function shown() {
    const found = data.categories.find((one) => one.category === category);
    crumb.replaceChildren(...(found ? [make("a", { href: "#/map" }, "all categories"), ` › ${category}`] : []));
    const tiles = found ? found.ideas.map((idea) => ({ name: idea.title, size: idea.times, gain: idea.gain, text: idea.gain_text, href: `#/record/${idea.id}` }))
      : data.categories.map((one) => ({ name: one.category, size: one.tried, gain: one.gain, text: `${one.tried} tried, ${one.kept} kept${one.gain_text ? `, mean of ${one.measured}: ${one.gain_text}` : ""}`, href: `#/map/${encodeURIComponent(one.category)}` }));
    const most = Math.max(0, ...tiles.map((tile) => (tile.gain ? Math.abs(tile.gain[0]) : 0)));
    area.classList.toggle("empty", !tiles.length);
    scale.replaceChildren(most ? legend(most, page.about.gain_unit || "") : "");
    drawTiles(area, tiles.filter((tile) => tile.size > 0).sort((one, other) => other.size - one.size), most);
    list.replaceChildren(card(found ? `Ideas of ${category}` : "Categories", found ? ideasTable(found, page.about.you) : categoriesTable(data)));
  }

  function after() {
    const { strategy, transfers } = page.board;
    more.replaceChildren(...[strategyCard(strategy), transferCard(transfers)].filter(Boolean));
  }

  read();
  return { board: read, redraw: () => data && shown() };
}

/** most: the gain of the strongest colour; unit: of gains. */
function legend(most, unit) {
  const end = `${Number(most.toPrecision(2))}${unit ? ` ${unit}` : ""}`;
  return make("p", { class: "scale" }, make("span", {}, `worse, −${end}`),
    ...[-1, -0.5, 0, 0.5, 1].map((share) => coloured(make("span", { class: "swatch" }), share)), make("span", {}, `+${end}, better`),
    make("span", { class: "swatch unknown" }), make("span", {}, "not measured"));
}

/** Give an element the colour of a gain, -1 to 1 of the largest; null: nothing was measured. */
function coloured(element, share) {
  if (share === null) element.classList.add("unknown");
  else element.style.backgroundColor = `color-mix(in srgb, var(${share < 0 ? "--worse" : "--better"}) ${Math.round(100 * Math.min(1, Math.abs(share)))}%, var(--even))`;
  return element;
}

function drawTiles(area, tiles, most) {
  if (!tiles.length) return area.replaceChildren(nothing("Nothing was tried yet."));
  const boxes = treemap(tiles.map((tile) => tile.size), area.clientWidth || 900, area.clientHeight || 420);
  return area.replaceChildren(...tiles.map((tile, index) => {
    const [left, top, width, height] = boxes[index];
    const link = make("a", { href: tile.href, class: "tile-area", title: `${tile.name}: ${tile.text || ""}` },
      make("strong", {}, tile.name), ...(tile.text || "").split(", ").map((part) => make("span", {}, part)));
    Object.assign(link.style, { left: `${left}%`, top: `${top}%`, width: `${width}%`, height: `${height}%` });
    return coloured(link, tile.gain ? Math.sign(tile.gain[0]) * Math.sqrt(Math.abs(tile.gain[0]) / (most || 1)) : null);
  }));
}

function categoriesTable(data) {
  return make("div", {}, table(["category", "tried", "measured", "kept", "failed", "in claims", "of these confirmed", "mean gain", "best gain"], data.categories.map((one) => [
    { text: make("a", { href: `#/map/${encodeURIComponent(one.category)}` }, one.category), kind: "text" }, one.tried, one.measured, one.kept, one.failed, one.claims, one.confirmed,
    one.gain_text || "–", one.best_id ? recordLink(one.best_id, one.best_text) : "–"])),
  data.rest_categories ? nothing(`and ${data.rest_categories} more categories`) : "");
}

function ideasTable(found, you) {
  return make("div", {}, table(["idea", "gain", "decision", "by", "times", "when"], found.ideas.map((idea) => [
    { text: recordLink(idea.id, idea.title), kind: "text" }, idea.gain_text || "–", badge(idea.conclusion), peerLink(idea.by, you), idea.times, ago(idea.time)])),
  found.more ? nothing(`and ${found.more} more ideas`) : "");
}

function strategyCard(strategy) {
  if (!strategy) return null;
  return card("What this node expects of each kind of idea", make("p", { class: "note" }, strategy.why), folded(`${strategy.arms.length} kinds of ideas, best first`, table(
    ["category", "proposer", "chance of success", "gain if so", "cost", "gain an hour", "tried", "kept", "next"],
    strategy.arms.map((arm) => [{ text: arm.category, kind: "text" }, arm.proposer, `${percent(arm.chance)} ± ${(100 * arm.chance_deviation).toFixed(0)}`, arm.gain_text,
      `${arm.seconds.toFixed(0)} s`, arm.rate_text, arm.tried, arm.kept, arm.has_ideas ? percent(arm.next) : "no idea left"]))));
}


function transferCard({ categories, transfers }) {
  if (!transfers.length) return null;
  return card("What carries over to larger scales", make("p", { class: "note" }, "Discoveries that were run again with a larger model or budget. Gain there / here: how large the gain "
    + "on the metric is at the larger scale, for one at the scale of the search. An idea within a chain counts in part."),
  table(["category", "scale", "tried", "carry over", "rate", "gain there / here"], categories.map((one) => [
    { text: one.category, kind: "text" }, one.scale, one.tried, one.carried, `${percent(one.rate)} ± ${(100 * one.rate_error).toFixed(0)}`,
    one.ratio === null ? "–" : `${one.ratio.toFixed(2)} ± ${one.ratio_error.toFixed(2)}`])),
  table(["discovery", "scale", "by", "claimed gain", "gain there", "decision"], transfers.map((one) => [
    { text: recordLink(one.id, one.title || shortId(one.discovery)), kind: "text" }, one.scale, peerLink(one.peer), effectText(one.claimed), effectText(one.effect),
    badge(one.decision)])));
}
