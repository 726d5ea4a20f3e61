/** crowd-bounding-box, -polygon, -polyline, -line and -keypoint. */
import { isMap, reflect } from "../base.js";
import { must } from "../dom.js";
import { Editor } from "./editor.js";
import { CanvasElement } from "./element.js";
import { editorKey } from "./keys.js";
import { KINDS, describe, isWhole, tidy } from "./shapes.js";

/** @typedef {import("./shapes.js").Kind} Kind */
/** @typedef {import("./shapes.js").Shape} Shape */

/** @param {Record<string, any>} item @returns {Shape} */
function boxOf(item) {
  const [left, top] = [Number(item.left), Number(item.top)];
  const end = { x: left + Number(item.width), y: top + Number(item.height) };
  return { label: String(item.label ?? ""), points: [{ x: left, y: top }, end] };
}

/** @param {unknown} item @param {Kind} kind @returns {Shape[]} none when it is no such shape */
export function shapesOf(item, kind) {
  if (!isMap(item)) return [];
  /** @type {Shape} */
  let shape = { label: String(item.label ?? ""), points: [] };
  if (kind === "box") shape = boxOf(item);
  else if (kind === "keypoint") shape.points.push({ x: Number(item.x), y: Number(item.y) });
  else if (Array.isArray(item.vertices)) {
    shape.points = item.vertices.filter(isMap).map(({ x, y }) => ({ x: Number(x), y: Number(y) }));
  }
  return shape.points.every(({ x, y }) => Number.isFinite(x) && Number.isFinite(y)) && isWhole(kind, shape) ? [shape] : [];
}

/** @param {Kind} kind @param {Shape} shape @returns {Record<string, unknown>} */
export function answerOf(kind, { label, points }) {
  const [a, b] = points;
  if (kind === "box") return { height: b.y - a.y, label, left: a.x, top: a.y, width: b.x - a.x };
  if (kind === "keypoint") return { label, x: a.x, y: a.y };
  return { label, vertices: points.map(({ x, y }) => ({ x, y })) };
}

/** @type {[string, string][]} */
const POINT_KEYS = [
  ["Arrows", "with nothing chosen: move the cross (Shift: by ten)"],
  ["Space / Enter", "put a point at the cross; Enter ends a shape that is long enough"],
  ["Tab / Shift Tab", "choose the next / previous shape"],
  ["Arrows ", "with a shape chosen: move it (Shift: by ten)"],
  ["Delete", "delete what is chosen, or the last point while drawing"],
  ["Esc", "give up, or choose nothing"],
];

class VectorElement extends CanvasElement {
  static observedAttributes = ["src", "labels", "label-colors", "header", "initial-value"];
  /** @type {Kind} */
  kind = "box";
  /** The key of the list in the answer. */
  listKey = "boundingBoxes";
  /** @type {string | null} */
  #given = null;

  start() {
    const view = must(this.view);
    this.keys = [...this.moreKeys(), ...POINT_KEYS];
    this.editor = new Editor(view, this.kind, {
      label: () => this.activeName,
      colorOf: (label) => this.colorOf(label),
      onChange: () => this.#edited(),
      onSelect: () => this.showDrawn(),
      say: (text) => this.say(text),
    });
    this.editor.history.onChange = () => this.showDrawn();
    const pane = must(this.pane);
    pane.onPick = (index) => {
      must(this.editor).select(index, true);
      view.show(must(this.editor).shapes[index].points[0]);
      pane.focusRow(index);
    };
    pane.onRemove = (index) => must(this.editor).remove(index);
    this.#begin();
  }

  /** @returns {[string, string][]} */
  moreKeys() {
    return [];
  }

  #begin() {
    const initial = this.data("initial-value");
    const list = isMap(initial) ? initial[this.listKey] : initial;
    this.#given = Array.isArray(list) ? "" : null;
    this.put(list);
    if (this.#given !== null) this.#given = this.#written();
  }

  #written() {
    return JSON.stringify(must(this.editor).shapes.map((shape) => answerOf(this.kind, shape)));
  }

  /** @param {unknown} list of shapes as in an answer */
  put(list) {
    const shapes = Array.isArray(list) ? list.flatMap((item) => shapesOf(item, this.kind)) : [];
    const size = must(this.view).size;
    for (const shape of shapes) tidy(this.kind, shape, size);
    this.meet(shapes.map(({ label }) => label));
    must(this.editor).start(shapes);
    this.showLabels();
  }

  loaded() {
    super.loaded();
    const editor = must(this.editor);
    const wasGiven = this.#given !== null && this.#given === this.#written();
    for (const shape of editor.shapes) tidy(this.kind, shape, must(this.view).size);
    editor.shapes = editor.shapes.filter((shape) => isWhole(this.kind, shape));
    if (wasGiven) this.#given = this.#written();
    this.showDrawn();
  }

  #edited() {
    this.complain("");
    this.showLabels();
    this.showDrawn();
    this.announce();
  }

  showDrawn() {
    const editor = this.editor;
    if (!editor) return;
    this.pane?.showDrawn(
      editor.shapes.map((shape, index) => ({
        text: shape.label,
        detail: describe(this.kind, shape),
        color: this.colorOf(shape.label),
        isSelected: index === editor.selected,
      })),
    );
    must(this.undoButton).disabled = !editor.history.canUndo && !editor.open;
    must(this.redoButton).disabled = !editor.history.canRedo;
  }

  /** @param {string} name @returns {number} */
  countOf(name) {
    return this.editor?.shapes.filter(({ label }) => label === name).length ?? 0;
  }

  /** @param {number} index */
  chooseLabel(index) {
    super.chooseLabel(index);
    const editor = must(this.editor);
    if (editor.open) editor.open.label = this.activeName;
    else if (editor.isChosen && editor.current && index < this.names.length) editor.relabel(editor.selected, this.activeName);
  }

  /** @param {string} name */
  changed(name) {
    if (name === "initial-value") this.#begin();
    else super.changed(name);
  }

  /** @param {KeyboardEvent} event @returns {boolean} */
  key(event) {
    return editorKey(must(this.editor), event);
  }

  undo() {
    const editor = must(this.editor);
    if (editor.open) editor.dropPoint();
    else editor.history.undo();
  }

  redo() {
    must(this.editor).history.redo();
  }

  get value() {
    const shapes = this.editor?.shapes ?? [];
    /** @type {Record<string, any>} */
    const answer = { [this.listKey]: shapes.map((shape) => answerOf(this.kind, shape)), inputImageProperties: this.pictureSize };
    if (this.kind === "box" && this.#given !== null) answer.initialValueModified = this.#given !== this.#written();
    return answer;
  }

  /** @param {any} value */
  set value(value) {
    if (this.editor) this.restore(value);
    else if (isMap(value)) this.write("initial-value", value[this.listKey]);
  }

  submittable() {
    return this.value;
  }

  /** @param {unknown} value */
  restore(value) {
    if (isMap(value)) this.put(value[this.listKey]);
  }

  reset() {
    this.#begin();
  }

  problem() {
    return this.editor?.open ? `A ${KINDS[this.kind].word.toLowerCase()} is not finished.` : super.problem();
  }
}

export class CrowdBoundingBox extends VectorElement {
  things = "Boxes";

  moreKeys() {
    return /** @type {[string, string][]} */ ([
      ["Drag", "draw a box; Shift + drag draws inside the chosen one"],
      ["Ctrl Arrows", "change the size of the chosen box"],
    ]);
  }
}

class PointsElement extends VectorElement {
  moreKeys() {
    return /** @type {[string, string][]} */ ([
      ["Click", "put a point; a click on the first point or a double click ends the shape"],
      ["[ / ]", "choose a point of the shape, to move it with arrows or to delete it"],
      ["Shift click", "begin a shape on top of another; Alt + click chooses from inside"],
    ]);
  }
}

export class CrowdPolygon extends PointsElement {
  /** @type {Kind} */
  kind = "polygon";
  listKey = "polygons";
  things = "Polygons";
}

export class CrowdPolyline extends PointsElement {
  /** @type {Kind} */
  kind = "polyline";
  listKey = "polylines";
  things = "Polylines";
}

export class CrowdLine extends PointsElement {
  /** @type {Kind} */
  kind = "line";
  listKey = "lines";
  things = "Lines";
}

export class CrowdKeypoint extends VectorElement {
  /** @type {Kind} */
  kind = "keypoint";
  listKey = "keypoints";
  things = "Keypoints";

  moreKeys() {
    return /** @type {[string, string][]} */ ([["Click", "put a keypoint; drag one to move it"]]);
  }
}

for (const type of [CrowdBoundingBox, CrowdPolygon, CrowdPolyline, CrowdLine, CrowdKeypoint]) {
  reflect(type, { src: "text", header: "text" });
}
