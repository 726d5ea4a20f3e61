/** Paints on a mask: brush, eraser and polygon, by pointer and by keyboard. */
import { clamp } from "../dom.js";
import { drawCross, drawShape } from "./draw.js";
import { History } from "./history.js";
import { commonKey } from "./keys.js";
import { Mask } from "./mask.js";

/** @typedef {import("./view.js").Point} Point */
/** @typedef {import("./view.js").View} View */
/** @typedef {import("./mask.js").Area} Area */
/** @typedef {"brush" | "eraser" | "polygon"} Tool */
/**
 * @typedef {object} Host
 * @property {() => number} value the number to paint with, or 0 when there is none
 * @property {() => string[]} colors of the numbers from 1 on
 * @property {() => void} onChange
 * @property {() => void} onTool
 * @property {(text: string) => void} say
 */

/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
export const SIZE_MAX = 200;

export class Painter {
  /** @type {Tool} */
  tool = "brush";
  size = 24;
  opacity = 0.6;
  mask = new Mask(1, 1);
  /** The cursor that arrow keys move. @type {Point | null} */
  cross = null;
  isPenDown = false;
  /** The polygon that is being drawn. @type {Point[]} */
  points = [];
  #isStroke = false;
  /** @type {Point | null} */
  #last = null;
  #value = 0;

  /** @param {View} view @param {Host} host */
  constructor(view, host) {
    this.view = view;
    this.host = host;
    this.history = new History();
    view.tool = this;
    view.drawUnder = (context) => this.#drawUnder(context);
    view.drawOver = (context) => this.#drawOver(context);
  }

  /** @param {Mask} mask */
  start(mask) {
    this.mask = mask;
    this.points = [];
    this.history.clear();
    this.refresh();
  }

  /** @param {Area} [area] */
  refresh(area = this.mask.whole) {
    this.mask.paint(area, this.host.colors());
    this.view.draw();
  }

  /** @param {Tool} tool */
  choose(tool) {
    this.tool = tool;
    this.points = [];
    this.host.say(tool);
    this.host.onTool();
    this.view.draw();
  }

  /** @param {number} size */
  resize(size) {
    this.size = Math.round(clamp(size, 1, SIZE_MAX));
    this.host.onTool();
    this.view.draw();
  }

  /** @param {() => Area} act one step of undo, with the number that it paints */
  #step(act) {
    this.mask.begin();
    this.refresh(act());
    this.#commit();
  }

  #commit() {
    const step = this.mask.end();
    if (!step) return;
    /** @param {() => void} act */
    const around = (act) => () => {
      act();
      this.refresh();
      this.host.onChange();
    };
    this.history.push({ undo: around(step.undo), redo: around(step.redo) });
    this.host.onChange();
  }

  /** @param {Point} a @param {Point} b */
  #stroke(a, b) {
    return this.mask.stroke(a, b, this.size / 2, this.#value);
  }

  #takeValue() {
    this.#value = this.tool === "eraser" ? 0 : this.host.value();
    if (this.tool !== "eraser" && !this.#value) this.host.say("There is no label to paint with.");
    return this.tool === "eraser" || this.#value > 0;
  }

  // The pointer.

  /** @param {Point} point */
  down(point) {
    this.cross = null;
    if (this.tool === "polygon") {
      const reach = 10 / this.view.scale;
      /** @param {Point | undefined} at */
      const near = (at) => at && Math.hypot(at.x - point.x, at.y - point.y) <= reach;
      if (this.points.length > 2 && (near(this.points[0]) || near(this.points[this.points.length - 1]))) this.close();
      else this.putPoint(point);
      return;
    }
    if (!this.#takeValue()) return;
    this.mask.begin();
    this.#isStroke = true;
    this.#last = point;
    this.refresh(this.#stroke(point, point));
  }

  /** @param {Point} point @param {PointerEvent} event @param {boolean} isDown */
  move(point, event, isDown) {
    if (this.#isStroke && isDown && this.#last) {
      this.refresh(this.#stroke(this.#last, point));
    }
    this.#last = point;
    if (event.pointerType !== "touch" || this.points.length) this.view.draw();
  }

  up() {
    if (!this.#isStroke) return;
    this.#isStroke = false;
    this.#commit();
  }

  cancel() {
    if (this.#isStroke) {
      this.mask.abandon();
      this.#isStroke = false;
    }
    this.points = [];
    this.refresh();
  }

  /** @param {Point} point */
  putPoint(point) {
    if (!this.points.length && !this.#takeValue()) return;
    this.points.push(point);
    this.host.say(`Point ${this.points.length}`);
    this.view.draw();
  }

  /** Fills the polygon that was drawn. */
  close() {
    const { points } = this;
    this.points = [];
    if (points.length > 2 && this.#takeValue()) this.#step(() => this.mask.fill(points, this.#value));
    this.view.draw();
  }

  /** Takes away all that is painted with a number. @param {number} value */
  erase(value) {
    this.#step(() => this.mask.replace(value, 0));
  }

  // The keyboard.

  /** @param {KeyboardEvent} event @param {[number, number]} arrow */
  #arrow(event, [x, y]) {
    const step = event.shiftKey ? 10 : 1;
    const size = this.view.size;
    const from = this.cross ?? { x: Math.round(size.x / 2), y: Math.round(size.y / 2) };
    this.cross = { x: clamp(from.x + x * step, 0, size.x), y: clamp(from.y + y * step, 0, size.y) };
    if (this.isPenDown && this.tool !== "polygon" && this.#takeValue()) {
      const to = this.cross;
      this.#step(() => this.#stroke(from, to));
    }
    this.host.say(`${this.cross.x}, ${this.cross.y}`);
    this.view.show(this.cross);
    this.view.draw();
  }

  #putAtCross() {
    const at = this.cross;
    if (!at) return;
    if (this.tool === "polygon") this.putPoint({ ...at });
    else if (this.#takeValue()) this.#step(() => this.#stroke(at, at));
  }

  /** @param {KeyboardEvent} event @returns {boolean} whether the key was for the painter */
  key(event) {
    const key = event.key.toLowerCase();
    if (event.key in ARROWS && !event.altKey) this.#arrow(event, ARROWS[event.key]);
    else if (this.points.length && (event.ctrlKey || event.metaKey) && key === "z") this.points.pop();
    else if (commonKey(event, this.view, this.history)) return true;
    else if (event.ctrlKey || event.metaKey || event.altKey) return false;
    else if (key === "b") this.choose("brush");
    else if (key === "e") this.choose("eraser");
    else if (key === "p") this.choose("polygon");
    else if (key === "[") this.resize(this.size - Math.max(1, this.size / 5));
    else if (key === "]") this.resize(this.size + Math.max(1, this.size / 5));
    else if (key === "d") {
      this.isPenDown = !this.isPenDown;
      this.host.say(this.isPenDown ? "The pen is down: arrows paint" : "The pen is up");
    } else if (key === " ") {
      if (this.cross && !event.repeat) this.#putAtCross();
    } else if (key === "enter" && (this.points.length || this.cross)) {
      if (this.points.length > 2) this.close();
      else this.#putAtCross();
    } else if (key === "backspace" && this.points.length) {
      this.points.pop();
      this.view.draw();
    } else if (key === "escape") {
      if (!this.points.length) this.cross = null;
      this.cancel();
    } else return false;
    this.view.draw();
    return true;
  }

  // Painting the screen.

  /** @param {CanvasRenderingContext2D} context */
  #drawUnder(context) {
    context.globalAlpha = this.opacity;
    context.imageSmoothingEnabled = false;
    context.drawImage(this.mask.canvas, 0, 0);
    context.globalAlpha = 1;
  }

  /** @param {CanvasRenderingContext2D} context */
  #drawOver(context) {
    const end = this.cross ?? this.#last;
    if (this.points.length && end) {
      const color = this.host.colors()[this.#value - 1] ?? "#000000";
      const shape = { label: "", points: [...this.points, end] };
      drawShape(context, this.view, { kind: "polygon", shape, color, isOpen: true });
    } else if (end && this.tool !== "polygon") {
      const at = this.view.toStage(end);
      context.beginPath();
      context.arc(at.x, at.y, (this.size / 2) * this.view.scale, 0, 7);
      context.lineWidth = 3;
      context.strokeStyle = "#fff";
      context.stroke();
      context.lineWidth = 1.5;
      context.strokeStyle = "#000";
      context.stroke();
    }
    if (this.cross) drawCross(context, this.view.toStage(this.cross));
  }
}
