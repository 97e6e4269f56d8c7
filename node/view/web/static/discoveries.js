// The view of discoveries: each a card with what its author claimed beside what others found, on one scale.

import { badge, effectText, heading, make, measuredSuffix, nothing, peerLink, recordLink } from "./elements.js";
import { intervals, scaleOf } from "./forest.js";

const MOST_CARDS = 60; // more are a button away

export function discoveries(place, page) {
  const words = make("input", { type: "search", id: "find", autocomplete: "off", oninput: () => shown() });
  const standing = make("select", { onchange: () => shown() }, make("option", { value: "" }, "any"));
  const order = make("select", { onchange: () => shown() }, ...["newest first", "largest replicated gain", "most re-runs"].map((name) => make("option", {}, name)));
  const count = make("p", { class: "soft", role: "status" }), cards = make("div", { class: "cards" });
  const more = make("button", { type: "button", hidden: true, onclick: () => { most += MOST_CARDS; shown(); } }, "Show more");
  let most = MOST_CARDS;
  place.append(heading("Discoveries", `Read what others found first: claims are biased upward, because only the trials that came out well are claimed${measuredSuffix(page.about)}.`),
    make("div", { class: "filters" }, make("label", {}, "find ", words), make("label", {}, "standing ", standing), make("label", {}, "order ", order),
      make("a", { href: page.feed, type: "application/atom+xml" }, "Feed of what is confirmed")), count, cards, more);

  function shown() {
    const all = page.board.discoveries;
    for (const name of new Set(all.map((found) => found.standing))) {
      if (![...standing.options].some((option) => option.value === name)) standing.append(make("option", { value: name }, name));
    }
    const arrived = new Map(page.rows.map((row, index) => [row.id, index]));
    const wanted = words.value.toLowerCase();
    const matching = all.filter((found) => (!standing.value || found.standing === standing.value)
      && (!wanted || `${found.title} ${found.category} ${found.id} ${found.author}`.toLowerCase().includes(wanted)));
    const gain = (found) => (found.replicated ? found.replicated.gain : -Infinity);
    const orders = [(one, other) => (arrived.get(other.id) ?? 0) - (arrived.get(one.id) ?? 0), (one, other) => gain(other) - gain(one), (one, other) => other.reports - one.reports];
    matching.sort(orders[order.selectedIndex]);
    const visible = matching.slice(0, most);
    const scale = scaleOf(visible.flatMap((found) => [found.claimed, found.replicated || found.unchecked].filter(Boolean).flatMap((effect) => [effect.gain - 2 * effect.gain_se, effect.gain + 2 * effect.gain_se])));
    count.textContent = all.length ? `${matching.length} of ${all.length}` : "";
    cards.replaceChildren(...(visible.length ? visible.map((found) => discoveryCard(found, scale, page.about.you)) : [nothing(all.length ? "None of them." : "None yet: a discovery is claimed once what was kept has been proven on fresh seeds.")]));
    more.hidden = matching.length <= most;
  }

  shown();
  return { board: shown };
}

function discoveryCard(found, scale, you) {
  const others = found.replicated || found.unchecked;
  const rows = [found.claimed ? { gain: found.claimed.gain, se: found.claimed.gain_se, kind: "claimed" } : null,
    others ? { gain: others.gain, se: others.gain_se, kind: found.replicated ? "found" : "unchecked" } : null].filter(Boolean);
  const words = found.replicated ? `${effectText(found.replicated)} by ${found.reports}`
    : found.unchecked ? `${effectText(found.unchecked)} by ${found.keys}, not checked here` : "nobody yet";
  return make("article", { class: "card discovery" },
    make("h2", {}, recordLink(found.id, found.title)),
    make("p", {}, badge(found.standing, standingText(found)), " ", badge("category", found.category)),
    make("dl", { class: "pair" }, make("dt", { class: "claimed" }, "claimed"), make("dd", {}, effectText(found.claimed)),
      make("dt", { class: "found" }, "others found"), make("dd", {}, words),
      found.holdout ? make("dt", {}, "on holdout") : null, found.holdout ? make("dd", {}, effectText(found.holdout)) : null),
    rows.length ? intervals(rows, scale, `claimed ${effectText(found.claimed)}, others found ${words}`, (found.claimed || others).gain_unit) : null,
    make("p", { class: "soft" }, peerLink(found.author, you), ` · ${found.compute_class}`));
}

/** The verdict with its reach, or what is missing for one. */
function standingText(found) {
  if (found.reach) return `${found.standing}, ${found.reach}`;
  const notes = [];
  if (found.standing === "open" && found.missing_reports) notes.push("too early to say");
  if (found.made_up) notes.push(`${found.made_up} made up`);
  return notes.length ? `${found.standing} (${notes.join(", ")})` : found.standing;
}
