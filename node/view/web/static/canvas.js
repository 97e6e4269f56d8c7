// A small chart on a canvas: dots, a staircase, two axes, and zooming by a drag. It knows numbers and pixels, and
// nothing of experiments. (Plotly needs 400 ms to redraw ten thousand dots, or eval, which the page forbids.)

const LEFT = 64, BOTTOM = 40, TOP = 8, RIGHT = 12;
const LEAST_DRAG = 5; // pixels; a shorter one is a click
const STEPS = [1, 2, 5, 10];

export class Plot {
  /**
   * options: colours {soft, line}, labels {x, y}, series [{kind: "dots" | "stairs", colour, size}], range: () => [low, high]
   * of y, pointed: (left, top) => called as the pointer moves, in pixels of the drawing area.
   */
  constructor(holder, options, columns) {
    this.options = options;
    this.canvas = document.createElement("canvas");
    this.canvas.className = "drawing";
    holder.replaceChildren(this.canvas);
    const ratio = window.devicePixelRatio || 1;
    this.width = holder.clientWidth;
    this.height = Math.min(380, Math.max(240, this.width * 0.6));
    this.canvas.width = this.width * ratio;
    this.canvas.height = this.height * ratio;
    this.canvas.style.width = `${this.width}px`;
    this.canvas.style.height = `${this.height}px`;
    this.pen = this.canvas.getContext("2d");
    this.pen.scale(ratio, ratio);
    this.zoom = null; // [from, to] in x
    this.listen();
    this.setColumns(columns);
  }

  /** columns: [x, series 1, series 2, ...], each as long as x, null where there is nothing to draw. */
  setColumns(columns) {
    this.columns = columns;
    this.draw();
  }

  across() {
    const x = this.columns[0];
    return this.zoom || (x.length ? [x[0] - 0.5, x[x.length - 1] + 0.5] : [0.5, 1.5]);
  }

  left(x) {
    const [from, to] = this.across();
    return LEFT + ((x - from) / (to - from)) * (this.width - LEFT - RIGHT);
  }

  top(y) {
    const [low, high] = this.span;
    return TOP + ((high - y) / (high - low)) * (this.height - TOP - BOTTOM);
  }

  draw() {
    this.span = this.options.range();
    this.pen.clearRect(0, 0, this.width, this.height);
    this.axes();
    this.pen.save();
    this.pen.beginPath();
    this.pen.rect(LEFT, TOP, this.width - LEFT - RIGHT, this.height - TOP - BOTTOM);
    this.pen.clip();
    this.options.series.forEach((series, index) => this[series.kind](series, this.columns[index + 1]));
    this.pen.restore();
  }

  dots({ colour, size }, values) {
    this.pen.fillStyle = colour;
    this.pen.beginPath();
    values.forEach((value, index) => {
      if (value === null) return;
      const left = this.left(this.columns[0][index]), top = this.top(value);
      this.pen.moveTo(left + size / 2, top);
      this.pen.arc(left, top, size / 2, 0, 2 * Math.PI);
    });
    this.pen.fill();
  }

  stairs({ colour, size }, values) {
    this.pen.strokeStyle = colour;
    this.pen.lineWidth = size;
    this.pen.beginPath();
    let before = null;
    values.forEach((value, index) => {
      if (value === null) return;
      const left = this.left(this.columns[0][index]), top = this.top(value);
      if (before === null) this.pen.moveTo(left, top);
      else if (before !== top) this.pen.lineTo(left, before);
      this.pen.lineTo(left, top);
      before = top;
    });
    this.pen.stroke();
  }

  axes() {
    const { colours, labels } = this.options, pen = this.pen;
    pen.strokeStyle = colours.line;
    pen.fillStyle = colours.soft;
    pen.lineWidth = 1;
    pen.font = "12px system-ui, sans-serif";
    pen.textAlign = "center";
    for (const x of ticks(...this.across(), 8)) {
      const left = this.left(x);
      rule(pen, left, TOP, left, this.height - BOTTOM);
      if (Number.isInteger(x)) pen.fillText(x, left, this.height - BOTTOM + 16);
    }
    pen.fillText(labels.x, LEFT + (this.width - LEFT) / 2, this.height - 6);
    pen.textAlign = "right";
    for (const y of ticks(...this.span, 6)) {
      const top = this.top(y);
      rule(pen, LEFT, top, this.width - RIGHT, top);
      pen.fillText(Number(y.toPrecision(6)), LEFT - 6, top + 4);
    }
    pen.save();
    pen.translate(12, TOP + (this.height - TOP - BOTTOM) / 2);
    pen.rotate(-Math.PI / 2);
    pen.textAlign = "center";
    pen.fillText(labels.y, 0, 0);
    pen.restore();
  }

  listen() {
    let from = null;
    const at = (event) => {
      const box = this.canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    this.canvas.addEventListener("pointerdown", (event) => { [from] = at(event); });
    this.canvas.addEventListener("pointermove", (event) => this.options.pointed(...at(event)));
    this.canvas.addEventListener("pointerup", (event) => {
      const [to] = at(event);
      if (from !== null && Math.abs(to - from) >= LEAST_DRAG) this.zoomTo(Math.min(from, to), Math.max(from, to));
      from = null;
    });
    this.canvas.addEventListener("dblclick", () => this.zoomTo(null, null));
  }

  zoomTo(from, to) {
    const [low, high] = this.across(), wide = this.width - LEFT - RIGHT;
    const back = (left) => low + ((Math.min(Math.max(left, LEFT), LEFT + wide) - LEFT) / wide) * (high - low);
    this.zoom = from === null ? null : [back(from), back(to)];
    this.draw();
  }
}

function rule(pen, left, top, right, bottom) {
  pen.beginPath();
  pen.moveTo(left, top);
  pen.lineTo(right, bottom);
  pen.stroke();
}

/** Round numbers between two, about as many as asked. */
function ticks(from, to, about) {
  const rough = (to - from) / about, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * STEPS.find((one) => one * power >= rough);
  const found = [];
  for (let number = Math.ceil(from / step); number * step <= to && found.length < 50; number++) found.push(number * step);
  return found;
}
