/** A text whose parts can be selected, by pointer and by keyboard. Offsets count Unicode code points. */
import { clamp, el } from "../dom.js";

/** @typedef {{start: number, end: number}} Span end is exclusive */
/** @typedef {Span & {color: string, tag: string, title: string, isSelected: boolean}} Mark */

export const TEXT_CSS = `
.text { position: relative; white-space: pre-wrap; overflow-wrap: anywhere; line-height: 2.1; font-size: 1.08rem;
  border: 1px solid var(--line); border-radius: var(--round); padding: 1rem 1.25rem; cursor: text; touch-action: pan-y;
  user-select: none; -webkit-user-select: none; max-height: 70vh; overflow: auto; background: var(--paper); }
.text .mark { padding: .15em 0; border-bottom: 3px solid var(--mark); cursor: pointer;
  background: color-mix(in srgb, var(--mark) 22%, var(--paper)); }
.text .mark.selected { outline: 2px solid var(--ink); }
.text .mark[data-tag]::after { content: attr(data-tag); background: var(--mark); color: var(--mark-ink); font-size: .68em;
  font-weight: 650; border-radius: 4px; padding: .15em .4em; margin-left: .25em; vertical-align: middle; }
.text .shade { position: absolute; background: light-dark(rgb(11 92 173 / .28), rgb(138 184 245 / .35)); pointer-events: none; border-radius: 2px; }
.text .caret { position: absolute; width: 2px; background: var(--accent); pointer-events: none; }
`;

/** @param {string} text */
function tokens(text) {
  return text.match(/[\p{L}\p{N}\p{M}_'’-]+|\s+|[^]/gu) ?? [];
}

export class TextView {
  /** @type {string[]} */
  points = [];
  /** @type {Mark[]} */
  marks = [];
  /** What is selected: from a fixed end to the one that moves. @type {{anchor: number, head: number} | null} */
  selection = null;
  /** A finished selection by pointer, of whole words unless Alt is held. @type {(span: Span) => void} */
  onSelect = () => {};
  /** A press on a mark. @type {(index: number) => void} */
  onMark = () => {};
  /** @type {(text: string) => void} */
  say = () => {};
  #isDown = false;
  #lastPress = { time: 0, offset: -1 };

  /** @param {string} label */
  constructor(label) {
    this.element = el("div", { class: "text", tabindex: "0", role: "application", "aria-label": label });
    this.element.addEventListener("pointerdown", (event) => this.#down(event));
    this.element.addEventListener("pointermove", (event) => this.#move(event));
    this.element.addEventListener("pointerup", (event) => this.#up(event));
    this.element.addEventListener("pointercancel", () => this.select(null));
  }

  /** @param {string} text */
  setText(text) {
    this.points = Array.from(text);
    this.selection = null;
    this.draw();
  }

  /** @param {Mark[]} marks */
  setMarks(marks) {
    this.marks = marks;
    this.draw();
  }

  /** @param {Span} span */
  slice({ start, end }) {
    return this.points.slice(start, end).join("");
  }

  /** The selection without blanks at its ends; null when nothing is left. @returns {Span | null} */
  get span() {
    if (!this.selection) return null;
    let [start, end] = [this.selection.anchor, this.selection.head].sort((a, b) => a - b);
    while (start < end && !this.points[start].trim()) start += 1;
    while (end > start && !this.points[end - 1].trim()) end -= 1;
    return end > start ? { start, end } : null;
  }

  /** @param {{anchor: number, head: number} | null} selection */
  select(selection) {
    this.selection = selection;
    this.#isDown = this.#isDown && selection !== null;
    this.#shade();
  }

  draw() {
    const cuts = new Set(this.marks.flatMap(({ start, end }) => [start, end]));
    const pieces = [];
    let at = 0;
    for (const token of tokens(this.points.join(""))) {
      let piece = "";
      let start = at;
      for (const point of token) {
        if (piece && cuts.has(at)) {
          pieces.push(this.#piece(piece, start));
          [piece, start] = ["", at];
        }
        piece += point;
        at += 1;
      }
      pieces.push(this.#piece(piece, start));
    }
    this.element.replaceChildren(...pieces);
    this.#shade();
  }

  /** @param {string} piece @param {number} start */
  #piece(piece, start) {
    const span = el("span", { "data-start": start, text: piece });
    const end = start + Array.from(piece).length;
    const index = this.marks.reduce((found, mark, at) => (mark.start <= start && mark.end >= end ? at : found), -1);
    if (index < 0) return span;
    const mark = this.marks[index];
    span.className = mark.isSelected ? "mark selected" : "mark";
    span.dataset.mark = String(index);
    span.title = mark.title;
    span.style.setProperty("--mark", mark.color);
    if (mark.end === end && mark.tag) span.dataset.tag = mark.tag;
    return span;
  }

  /** The text node and the place in it of an offset. @param {number} offset @returns {[Node, number] | null} */
  #place(offset) {
    const spans = this.element.querySelectorAll("span[data-start]");
    let [low, high] = [0, spans.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (Number(spans[middle].getAttribute("data-start")) <= offset) low = middle;
      else high = middle - 1;
    }
    const span = spans[low];
    const node = span?.firstChild;
    if (!node) return null;
    const start = Number(span.getAttribute("data-start"));
    return [node, this.points.slice(start, offset).join("").length];
  }

  /** Shows the selection, or the caret. */
  #shade() {
    for (const old of this.element.querySelectorAll(".shade, .caret")) old.remove();
    if (!this.selection) return;
    const [start, end] = [this.selection.anchor, this.selection.head].sort((a, b) => a - b);
    const [from, to] = [this.#place(start), this.#place(end)];
    if (!from || !to) return;
    const range = document.createRange();
    range.setStart(...from);
    range.setEnd(...to);
    const box = this.element.getBoundingClientRect();
    const rects = start === end ? [range.getBoundingClientRect()] : [...range.getClientRects()];
    for (const rect of rects) {
      const shade = el("div", { class: start === end ? "caret" : "shade", "aria-hidden": "true" });
      shade.style.left = `${rect.left - box.left - 1 + this.element.scrollLeft}px`;
      shade.style.top = `${rect.top - box.top - 1 + this.element.scrollTop}px`;
      if (start !== end) shade.style.width = `${rect.width}px`;
      shade.style.height = `${rect.height || 20}px`;
      this.element.append(shade);
    }
  }

  /** @param {PointerEvent} event @returns {number} the offset between two characters nearest to the pointer, or -1 */
  offsetAt(event) {
    const root = this.element.getRootNode();
    if (!(root instanceof ShadowRoot || root instanceof Document)) return -1;
    const span = root.elementFromPoint(event.clientX, event.clientY)?.closest("span[data-start]");
    const node = span?.firstChild;
    if (!span || !node) return -1;
    const start = Number(span.getAttribute("data-start"));
    const range = document.createRange();
    let [unit, nearest, best] = [0, start, Infinity];
    Array.from(node.textContent ?? "").forEach((point, index) => {
      range.setStart(node, unit);
      unit += point.length;
      range.setEnd(node, unit);
      for (const rect of range.getClientRects()) {
        const off = event.clientY < rect.top || event.clientY > rect.bottom ? 1e5 : 0;
        for (const [x, offset] of [[rect.left, start + index], [rect.right, start + index + 1]]) {
          const distance = Math.abs(event.clientX - x) + off;
          if (distance < best) [best, nearest] = [distance, offset];
        }
      }
    });
    return nearest;
  }

  /** @param {number} offset @returns {Span} */
  wordAt(offset) {
    let at = 0;
    for (const token of tokens(this.points.join(""))) {
      const end = at + Array.from(token).length;
      if (offset < end) return { start: at, end };
      at = end;
    }
    return { start: at, end: at };
  }

  /** Widens the selection to whole words: a pointer rarely meets the very edge of one. */
  #snap() {
    const { span } = this;
    if (!span) return;
    this.select({ anchor: this.wordAt(span.start).start, head: this.wordAt(span.end - 1).end });
  }

  /** @param {PointerEvent} event */
  #down(event) {
    if (event.button !== 0) return;
    const offset = this.offsetAt(event);
    if (offset < 0) return this.select(null);
    this.element.focus({ preventScroll: true });
    const isDouble = event.timeStamp - this.#lastPress.time < 450 && Math.abs(offset - this.#lastPress.offset) <= 1;
    this.#lastPress = { time: event.timeStamp, offset };
    if (isDouble) {
      const { start, end } = this.wordAt(Math.min(offset, this.points.length - 1));
      this.select({ anchor: start, head: end });
      this.#isDown = false;
      if (this.span) this.onSelect(this.span);
      return;
    }
    this.#isDown = true;
    this.element.setPointerCapture(event.pointerId);
    this.select({ anchor: event.shiftKey && this.selection ? this.selection.anchor : offset, head: offset });
  }

  /** @param {PointerEvent} event */
  #move(event) {
    if (!this.#isDown || !this.selection) return;
    const offset = this.offsetAt(event);
    if (offset >= 0 && offset !== this.selection.head) this.select({ anchor: this.selection.anchor, head: offset });
  }

  /** @param {PointerEvent} event */
  #up(event) {
    if (!this.#isDown) return;
    this.#isDown = false;
    if (this.span && !event.altKey) this.#snap();
    const { span } = this;
    if (span) return this.onSelect(span);
    const root = this.element.getRootNode();
    const at = root instanceof ShadowRoot ? root.elementFromPoint(event.clientX, event.clientY) : null;
    const mark = at?.closest("[data-mark]")?.getAttribute("data-mark");
    this.onMark(mark ? Number(mark) : -1);
  }

  /** Arrows move, Shift extends, Ctrl goes by words. @param {KeyboardEvent} event @returns {boolean} */
  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const length = this.points.length;
    const head = this.selection?.head ?? 0;
    let to = head;
    if (step && (event.ctrlKey || event.altKey)) to = this.#byWord(head, step);
    else if (step) to = this.selection ? head + step : 0;
    else if (event.key === "Home") to = 0;
    else if (event.key === "End") to = length;
    else if (event.key.toLowerCase() === "a" && event.ctrlKey) {
      this.select({ anchor: 0, head: length });
      return true;
    } else return false;
    to = clamp(to, 0, length);
    this.select({ anchor: event.shiftKey && this.selection ? this.selection.anchor : to, head: to });
    const { span } = this;
    this.say(span ? `Selected: ${this.slice(span)}` : `Before: ${this.slice(this.wordAt(to)).trim() || "blank"}`);
    return true;
  }

  /** @param {number} from @param {number} step */
  #byWord(from, step) {
    /** @param {number} at */
    const isWord = (at) => /[\p{L}\p{N}]/u.test(this.points[at] ?? "");
    let at = from;
    const next = () => (step > 0 ? at : at - 1);
    while (next() >= 0 && next() < this.points.length && !isWord(next())) at += step;
    while (next() >= 0 && next() < this.points.length && isWord(next())) at += step;
    return at;
  }
}
