// One node's record of truth: what it claimed and what became of that, whom its reports agreed with, what it adopted.

import { ago, badge, card, heading, make, nothing, peerLink, recordLink, short, shortId, table, tile } from "./elements.js";
import { inWords } from "./now.js";

export function peer(place, page, [name = ""]) {
  const head = make("div", {}), body = make("div", {});
  place.append(head, body);
  head.replaceChildren(heading(name === page.about.you ? "This node" : `Node ${short(name)}`));

  async function read() {
    const found = await page.ask(`/api/peer/${encodeURIComponent(name)}`);
    if (!found) return body.replaceChildren(nothing("No record of this node is here."));
    const { claims, reports, tried_here: tried } = found;
    return body.replaceChildren(
      make("p", {}, make("code", {}, found.peer)),
      make("p", {}, badge(found.standing), found.online ? badge("online") : "", found.forked ? badge("refuted", "its feed is forked") : "", ` ${found.compute_class || ""} `,
        make("span", { class: "soft" }, found.because ? `${found.because}. ` : "", found.you || found.weight === null ? "" : `Its word counts ${found.weight.toFixed(2)} of 1 here.`)),
      (found.vouched_by || []).length ? make("p", {}, "On the word of ", ...found.vouched_by.flatMap((one) => [peerLink(one.peer, page.about.you), ` (${one.weight.toFixed(2)}) `])) : "",
      make("div", { class: "tiles" },
        tile("claims", claims.total, `${claims.confirmed} confirmed, ${claims.open} open, ${claims.refuted} refuted`),
        tile("reports on others", reports.made, `${reports.audited_here} checked here: ${reports.agreed} agree, ${reports.differed} differ`),
        tile("its claims tried here", tried.claims, `${tried.right} right, ${tried.wrong} wrong`),
        tile("experiments", found.experiments, `${found.kept} kept`),
        tile("holdout over validation", found.holdout_ratio === null || found.holdout_ratio === undefined ? "–" : found.holdout_ratio.toFixed(2), "of its gains; near 1 is good")),
      card("Found", found.found.length ? table(["discovery", "claimed", "others found", "standing", "when"], found.found.map((one) => [
        { text: recordLink(one.id, one.title), kind: "text" }, one.gain_text || "–", one.replicated_text || "–", badge(one.standing), ago(one.time)])) : nothing("Nothing claimed yet."),
      found.found_more ? nothing(`and ${found.found_more} more`) : ""),
      card("Adopted", found.adopted.length ? table(["discovery", "from", "gain here", "how", "when"], found.adopted.map((one) => [
        { text: recordLink(one.of, one.title || shortId(one.of)), kind: "text" }, peerLink(one.from, page.about.you), one.gain_text || "–", one.route, ago(one.time)])) : nothing("Nothing adopted yet."),
      found.adopted_more ? nothing(`and ${found.adopted_more} more`) : ""),
      card("Its latest records", make("ul", { class: "list news" }, ...found.latest.map((row) => make("li", {},
        make("span", {}, ...inWords(row, page)), make("span", { class: "soft" }, ago(row.time)))))));
  }

  read();
  return { board: read };
}
