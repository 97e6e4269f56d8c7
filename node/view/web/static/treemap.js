// A treemap: rectangles whose areas are in proportion to sizes. Squarified (Bruls, Huizing and van Wijk, 2000): rows are
// filled along the shorter side as long as that makes their rectangles more square.

/** sizes: descending, above 0; returns [left, top, width, height] of each, in per cent of a box of this shape. */
export function treemap(sizes, width, height) {
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const areas = sizes.map((size) => (size / total) * width * height);
  const boxes = [];
  let [left, top, wide, high] = [0, 0, width, height];
  for (let from = 0; from < areas.length;) {
    const side = Math.min(wide, high);
    let to = from + 1;
    while (to < areas.length && worst(areas.slice(from, to + 1), side) <= worst(areas.slice(from, to), side)) to++;
    const row = areas.slice(from, to), depth = row.reduce((sum, area) => sum + area, 0) / side;
    let along = 0;
    for (const area of row) {
      const length = area / depth;
      boxes.push(wide >= high ? [left, top + along, depth, length] : [left + along, top, length, depth]);
      along += length;
    }
    if (wide >= high) [left, wide] = [left + depth, wide - depth];
    else [top, high] = [top + depth, high - depth];
    from = to;
  }
  return boxes.map(([x, y, w, h]) => [(100 * x) / width, (100 * y) / height, (100 * w) / width, (100 * h) / height]);
}

/** The least square of a row's rectangles, as the ratio of its sides. */
function worst(areas, side) {
  const sum = areas.reduce((all, area) => all + area, 0);
  return Math.max((side * side * Math.max(...areas)) / (sum * sum), (sum * sum) / (side * side * Math.min(...areas)));
}
