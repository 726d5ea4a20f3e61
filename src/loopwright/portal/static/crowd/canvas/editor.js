/** Draws and mends shapes with the pointer. Each finished act is one step of undo. */
import { drawCross, drawShape } from "./draw.js";
import { History } from "./history.js";
import * as geometry from "./shapes.js";

/** @typedef {import("./view.js").Point} Point */
/** @typedef {import("./view.js").View} View */
/** @typedef {import("./shapes.js").Shape} Shape */
/** @typedef {import("./shapes.js").Kind} Kind */
/**
 * @typedef {object} Host
 * @property {() => string} label the label that new shapes get, or ""
 * @property {(label: string) => string} colorOf
 * @property {() => void} onChange the answer changed
 * @property {() => void} onSelect
 * @property {(text: string) => void} say to those who hear the page
 */
/**
 * @typedef {object} Drag
 * @property {"new" | "handle" | "move" | "open"} type
 * @property {Point} start
 * @property {Point} last
 * @property {number} handle
 * @property {number} hit the shape below the press
 * @property {boolean} isMoved
 * @property {Shape[]} before
 */

const REACH = 8;
const TOUCH_REACH = 16;
const SLOP = 4;

export class Editor {
  /** @type {Shape[]} */
  shapes = [];
  selected = -1;
  vertex = -1;
  /** Chosen by hand, not just drawn: number keys give it their label. */
  isChosen = false;
  /** The shape that is being drawn point by point. @type {Shape | null} */
  open = null;
  /** The cursor that arrow keys move. @type {Point | null} */
  cross = null;
  /** @type {Point | null} */
  #rubber = null;
  /** @type {Drag | null} */
  #drag = null;

  /** @param {View} view @param {Kind} kind @param {Host} host */
  constructor(view, kind, host) {
    this.view = view;
    this.kind = kind;
    this.host = host;
    this.history = new History();
    view.tool = this;
    view.drawOver = (context) => this.#draw(context);
  }

  get word() {
    return geometry.KINDS[this.kind].word;
  }

  get current() {
    return this.shapes[this.selected] ?? null;
  }

  /** Starts from given shapes; there is nothing to undo. @param {Shape[]} shapes */
  start(shapes) {
    this.shapes = shapes.map(geometry.copyOf);
    this.open = null;
    this.history.clear();
    this.select(-1);
  }

  snapshot() {
    return this.shapes.map(geometry.copyOf);
  }

  /** Notes an act for undo, and tells it. @param {Shape[]} before @param {string} [text] */
  commit(before, text = "") {
    const after = this.snapshot();
    if (JSON.stringify(before) === JSON.stringify(after)) return;
    /** @param {Shape[]} shapes */
    const put = (shapes) => {
      this.shapes = shapes.map(geometry.copyOf);
      this.select(Math.min(this.selected, shapes.length - 1));
      this.host.onChange();
    };
    this.history.push({ undo: () => put(before), redo: () => put(after) });
    if (text) this.host.say(text);
    this.host.onChange();
    this.view.draw();
  }

  /** @param {number} index @param {boolean} [isChosen] */
  select(index, isChosen = false) {
    if (index !== this.selected) this.vertex = -1;
    this.selected = index;
    this.isChosen = isChosen && index >= 0;
    if (isChosen) this.cross = null;
    const shape = this.current;
    if (shape && isChosen) {
      const where = geometry.describe(this.kind, shape);
      this.host.say(`${this.word} ${index + 1} of ${this.shapes.length}: ${shape.label}, ${where}`);
    }
    this.host.onSelect();
    this.view.draw();
  }

  /** @param {number} index */
  remove(index) {
    const before = this.snapshot();
    const [gone] = this.shapes.splice(index, 1);
    if (!gone) return;
    this.select(-1);
    this.commit(before, `${this.word} ${gone.label} deleted`);
  }

  /** @param {number} index @param {string} label */
  relabel(index, label) {
    const before = this.snapshot();
    this.shapes[index].label = label;
    this.commit(before, `${this.word} ${index + 1} is ${label} now`);
    this.host.onSelect();
  }

  // Drawing point by point.

  /** Adds a finished shape. @param {Shape} shape @param {boolean} [isChosen] */
  add(shape, isChosen = false) {
    geometry.tidy(this.kind, shape, this.view.size);
    if (!geometry.isWhole(this.kind, shape)) return;
    const before = this.snapshot();
    this.shapes.push(shape);
    this.select(this.shapes.length - 1, isChosen);
    this.commit(before, `${this.word} ${shape.label} added: ${geometry.describe(this.kind, shape)}`);
  }

  /** Puts the next point of the shape that is drawn; begins one if there is none. @param {Point} point */
  putPoint(point) {
    const { most } = geometry.KINDS[this.kind];
    if (!this.open) {
      const label = this.host.label();
      if (!label) return this.host.say("There is no label to draw with.");
      this.select(-1);
      this.open = { label, points: [] };
    }
    this.open.points.push({ x: point.x, y: point.y });
    this.#rubber = point;
    if (this.open.points.length >= most) this.finish();
    else {
      this.host.say(`Point ${this.open.points.length}`);
      this.host.onSelect();
    }
    this.view.draw();
  }

  finish() {
    const shape = this.open;
    if (!shape) return;
    this.open = null;
    if (shape.points.length < geometry.KINDS[this.kind].least) this.host.say("Too few points: nothing was drawn.");
    else this.add(shape);
    this.view.draw();
  }

  /** Takes back the last point of what is being drawn. */
  dropPoint() {
    this.open?.points.pop();
    if (!this.open?.points.length) this.open = null;
    this.host.onSelect();
    this.view.draw();
  }

  cancel() {
    if (this.#drag) this.shapes = this.#drag.before;
    this.#drag = null;
    this.open = null;
    this.view.draw();
  }

  /** Takes away the chosen point of a shape. */
  removeVertex() {
    const shape = this.current;
    if (!shape || this.vertex < 0 || shape.points.length <= geometry.KINDS[this.kind].least) return false;
    const before = this.snapshot();
    shape.points.splice(this.vertex, 1);
    this.vertex = -1;
    this.commit(before, "Point deleted");
    return true;
  }

  // The pointer.

  /** @param {PointerEvent} event */
  #reach(event) {
    return (event.pointerType === "touch" ? TOUCH_REACH : REACH) / this.view.scale;
  }

  /** @param {Point} point @param {number} reach @param {boolean} withInside */
  #hit(point, reach, withInside) {
    let found = -1;
    let smallest = Infinity;
    this.shapes.forEach((shape, index) => {
      if (!geometry.isHit(this.kind, shape, point, reach, withInside)) return;
      const xs = shape.points.map(({ x }) => x);
      const ys = shape.points.map(({ y }) => y);
      const area = (Math.max(...xs) - Math.min(...xs)) * (Math.max(...ys) - Math.min(...ys));
      // What lies inside another shape is the one meant.
      if (area <= smallest) [smallest, found] = [area, index];
    });
    return found;
  }

  /** @param {Drag["type"]} type @param {Point} point @param {Partial<Drag>} [more] */
  #begin(type, point, more = {}) {
    const before = this.snapshot();
    this.#drag = { type, start: point, last: point, handle: -1, hit: -1, isMoved: false, before, ...more };
  }

  /** @param {Point} point @param {PointerEvent} event */
  down(point, event) {
    this.cross = null;
    const reach = this.#reach(event);
    if (this.open) return this.#downOpen(point, reach);
    if (!event.shiftKey && this.#grab(point, reach)) return;
    const { kind } = this;
    if (kind === "box") {
      this.#begin("new", point, { hit: this.#hit(point, reach, true) });
      return;
    }
    const hit = event.shiftKey ? -1 : this.#hit(point, reach, event.altKey);
    if (hit >= 0) {
      this.select(hit, true);
      this.#begin("move", point);
    } else {
      this.putPoint(point);
      if (kind === "line") this.#begin("open", point);
    }
  }

  /** Takes hold of the selected shape, if the press is on it. @param {Point} point @param {number} reach */
  #grab(point, reach) {
    const shape = this.current;
    if (!shape) return false;
    const handle = geometry.nearest(point, geometry.handles(this.kind, shape), reach);
    const middle = geometry.nearest(point, geometry.middles(this.kind, shape), reach * 0.8);
    if (handle >= 0) {
      this.vertex = this.kind === "polygon" || this.kind === "polyline" ? handle : -1;
      this.#begin("handle", point, { handle });
    } else if (middle >= 0) {
      this.#begin("handle", point, { handle: middle + 1 });
      shape.points.splice(middle + 1, 0, { ...point });
      this.vertex = middle + 1;
    } else if (geometry.isHit(this.kind, shape, point, reach, true)) this.#begin("move", point);
    else return false;
    this.isChosen = true;
    this.view.draw();
    return true;
  }

  /** @param {Point} point @param {number} reach */
  #downOpen(point, reach) {
    const points = this.open?.points ?? [];
    const isLast = geometry.nearest(point, points.slice(-1), reach / 2) === 0;
    const isFirst = this.kind === "polygon" && points.length > 2 && geometry.nearest(point, points.slice(0, 1), reach) === 0;
    if (isFirst || (isLast && points.length >= geometry.KINDS[this.kind].least)) this.finish();
    else if (!isLast) this.putPoint(point);
  }

  /** @param {Point} point @param {PointerEvent} event @param {boolean} isDown */
  move(point, event, isDown) {
    const drag = isDown ? this.#drag : null;
    if (!drag) {
      this.#rubber = point;
      if (this.open) this.view.draw();
      else this.#showCursor(point, event);
      return;
    }
    const distance = Math.hypot(point.x - drag.start.x, point.y - drag.start.y) * this.view.scale;
    if (!drag.isMoved && distance < SLOP) return;
    drag.isMoved = true;
    const shape = this.current;
    if (drag.type === "new" || drag.type === "open") this.#rubber = point;
    else if (shape && drag.type === "handle") geometry.moveHandle(this.kind, shape, drag.handle, point);
    else if (shape) geometry.moveBy(shape, point.x - drag.last.x, point.y - drag.last.y, this.view.size);
    drag.last = point;
    this.view.draw();
  }

  /** @param {Point} point @param {PointerEvent} event */
  #showCursor(point, event) {
    const shape = this.current;
    const reach = this.#reach(event);
    const isHandle = shape && geometry.nearest(point, geometry.handles(this.kind, shape), reach) >= 0;
    const isOn = shape && geometry.isHit(this.kind, shape, point, reach, true);
    this.view.upper.style.cursor = isHandle ? "pointer" : isOn ? "move" : "";
  }

  /** @param {Point} point */
  up(point) {
    const drag = this.#drag;
    this.#drag = null;
    if (!drag) return;
    if (drag.type === "new") this.#upNew(drag, point);
    else if (drag.type === "open") {
      if (drag.isMoved && this.open) this.putPoint(point);
    } else if (this.current) {
      geometry.tidy(this.kind, this.current, this.view.size);
      if (geometry.isWhole(this.kind, this.current)) this.commit(drag.before, "Changed");
      else this.shapes = drag.before;
      this.host.onSelect();
    }
    this.view.draw();
  }

  /** @param {Drag} drag @param {Point} point */
  #upNew(drag, point) {
    if (!drag.isMoved) return this.select(drag.hit, true);
    const label = this.host.label();
    if (!label) return this.host.say("There is no label to draw with.");
    this.add({ label, points: [drag.start, point] });
  }

  // Painting.

  /** @param {CanvasRenderingContext2D} context */
  #draw(context) {
    const { view, kind, host } = this;
    this.shapes.forEach((shape, index) => {
      if (index !== this.selected) drawShape(context, view, { kind, shape, color: host.colorOf(shape.label) });
    });
    if (this.current) {
      const color = host.colorOf(this.current.label);
      drawShape(context, view, { kind, shape: this.current, color, isSelected: true, vertex: this.vertex });
    }
    const end = this.cross ?? this.#rubber;
    if (this.#drag?.type === "new" && this.#drag.isMoved && this.#rubber) {
      const shape = { label: host.label(), points: [this.#drag.start, this.#rubber] };
      drawShape(context, view, { kind, shape, color: host.colorOf(shape.label), isSelected: true });
    } else if (this.open && end) {
      const shape = { label: this.open.label, points: [...this.open.points, end] };
      drawShape(context, view, { kind, shape, color: host.colorOf(shape.label), isOpen: true });
    }
    if (this.cross) drawCross(context, view.toStage(this.cross));
  }
}
