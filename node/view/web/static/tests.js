// The list of live tests, which have pages of their own.

import { heading, make } from "./elements.js";

export function liveTests(place, page) {
  place.append(heading("Live tests", "Variants of a page that people meet: approve them, and see what was answered."),
    make("ul", { class: "list" }, ...page.tests.map((name, number) => make("li", {}, make("a", { href: `/live/${number}/` }, name)))));
  return {};
}
