/** crowd-semantic-segmentation and crowd-instance-segmentation. */
import { isMap, reflect } from "../base.js";
import { el, must, safeUrl } from "../dom.js";
import { nameOf } from "../task.js";
import { CanvasElement } from "./element.js";
import { MASK_MAX, Mask } from "./mask.js";
import { Painter, SIZE_MAX } from "./paint.js";
import { hexColor, paletteColor, toRgb } from "./palette.js";
import { pngOf } from "./png.js";

/** @typedef {{label: string, color: string}} Layer What a number of the mask stands for, from 1 on. */

/** @type {[string, string][]} */
const KEYS = [
  ["B / E / P", "brush / eraser / polygon"],
  ["[ / ]", "smaller / larger brush"],
  ["Click", "polygon: put a point; on the first one, or twice, to fill"],
  ["Arrows", "move the cross (Shift: by ten)"],
  ["Space / Enter", "paint at the cross, or put a point there; Enter fills a polygon"],
  ["D", "pen down or up: while it is down, arrows paint"],
  ["Esc", "give up"],
];

class SegmentationElement extends CanvasElement {
  static observedAttributes = ["src", "labels", "label-colors", "header", "initial-value"];
  /** @type {Layer[]} */
  layers = [];
  things = "Painted";
  keys = KEYS;
  #revision = 0;
  #kept = { revision: -1, png: "" };
  /** What is to be shown once the picture's size is known. @type {Record<string, any> | null} */
  waiting = null;

  start() {
    const view = must(this.view);
    this.painter = new Painter(view, {
      value: () => this.paintValue(),
      colors: () => this.layers.map(({ color }) => color),
      onChange: () => this.painted(),
      onTool: () => this.#showTool(),
      say: (text) => this.say(text),
    });
    this.painter.history.onChange = () => this.#showTool();
    this.makeLayers();
    const initial = this.data("initial-value");
    this.waiting = isMap(initial) ? initial : null;
    this.#showTool();
  }

  /** @returns {HTMLElement[]} */
  tools() {
    /** @param {"brush" | "eraser" | "polygon"} tool @param {string} name */
    const button = (tool, name) => {
      const made = this.tool(tool, name, () => must(this.painter).choose(tool));
      made.dataset.tool = tool;
      return made;
    };
    /** @param {string} name @param {number} most @param {(value: number) => void} act */
    const range = (name, most, act) => {
      const input = el("input", { type: "range", min: 1, max: most });
      input.addEventListener("input", () => act(Number(input.value)));
      return { input, label: el("label", {}, name, input) };
    };
    const size = range("Size", SIZE_MAX, (value) => must(this.painter).resize(value));
    this.sizeRange = size.input;
    const opacity = range("Opacity", 100, (value) => {
      must(this.painter).opacity = value / 100;
      must(this.view).draw();
    });
    opacity.input.value = "60";
    this.toolButtons = [button("brush", "Brush"), button("eraser", "Eraser"), button("polygon", "Polygon")];
    return [...this.toolButtons, size.label, opacity.label, ...this.moreTools()];
  }

  /** @returns {HTMLElement[]} */
  moreTools() {
    return [];
  }

  #showTool() {
    const { painter } = this;
    if (!painter) return;
    for (const button of this.toolButtons ?? []) {
      button.setAttribute("aria-pressed", String(button.dataset.tool === painter.tool));
    }
    must(this.sizeRange).value = String(painter.size);
    must(this.undoButton).disabled = !painter.history.canUndo;
    must(this.redoButton).disabled = !painter.history.canRedo;
  }

  // What the two kinds differ in.

  /** The number to paint with; 0 for none. @returns {number} */
  paintValue() {
    return 0;
  }

  /** Sets up layers from the labels. */
  makeLayers() {}

  /** The layers of an earlier answer or an initial value. @param {Record<string, any>} _given @returns {Layer[]} */
  layersOf(_given) {
    return [];
  }

  painted() {
    this.#revision += 1;
    this.complain("");
    this.showLabels();
    this.announce();
  }

  // Loading.

  loaded() {
    super.loaded();
    const { width, height } = this.pictureSize;
    const painter = must(this.painter);
    // A picture that loads again after a failure keeps what was painted.
    if (painter.mask.width !== width || painter.mask.height !== height) painter.start(new Mask(width, height));
    if (this.waiting) this.#read(this.waiting);
  }

  /** @param {Record<string, any>} given an initial value or an answer */
  #read(given) {
    this.waiting = given;
    if (!this.view?.isLoaded) return;
    const inline = isMap(given.labeledImage) ? String(given.labeledImage.pngImageData ?? "") : "";
    const address = inline ? `data:image/png;base64,${inline}` : safeUrl(String(given.src ?? ""), "picture");
    const picture = new Image();
    picture.crossOrigin = "anonymous";
    picture.addEventListener("load", () => {
      if (this.waiting !== given) return;
      this.#take(given, picture);
    });
    picture.addEventListener("error", () => {
      if (this.waiting !== given) return;
      this.waiting = null;
      this.complain("The earlier segmentation could not be loaded.");
    });
    picture.src = address;
  }

  /** @param {Record<string, any>} given @param {HTMLImageElement} picture */
  #take(given, picture) {
    const layers = this.layersOf(given);
    const mask = new Mask(this.pictureSize.width, this.pictureSize.height);
    mask.read(picture, layers.map(({ color }) => color));
    this.waiting = null;
    this.layers = layers;
    this.meet(layers.map(({ label }) => label));
    this.#revision += 1;
    must(this.painter).start(mask);
    this.showLabels();
  }

  /** @param {string} name */
  changed(name) {
    if (name === "initial-value") {
      const initial = this.data(name);
      if (isMap(initial)) this.#read(initial);
      return;
    }
    super.changed(name);
    if (name === "labels" || name === "label-colors") {
      this.makeLayers();
      this.painter?.refresh();
      this.#revision += 1;
      this.showLabels();
    }
  }

  // The answer.

  #png() {
    if (this.#kept.revision !== this.#revision) {
      const { width, height, data } = must(this.painter).mask;
      const png = pngOf(width, height, data, this.layers.map(({ color }) => toRgb(color)));
      this.#kept = { revision: this.#revision, png };
    }
    return this.#kept.png;
  }

  /** The part of the answer that says what the colours are. @returns {Record<string, unknown>} */
  legend() {
    return {};
  }

  /** @returns {any} */
  get value() {
    // While an earlier answer is loading it is the answer.
    if (this.waiting && isMap(this.waiting.labeledImage)) return this.waiting;
    if (!this.painter || !this.view?.isLoaded) return undefined;
    return { ...this.legend(), labeledImage: { pngImageData: this.#png() }, inputImageProperties: this.pictureSize };
  }

  set value(value) {
    if (isMap(value)) this.restore(value);
  }

  submittable() {
    return this.value;
  }

  /** @param {unknown} value */
  restore(value) {
    if (isMap(value)) this.#read(value);
  }

  reset() {
    const { width, height } = this.pictureSize;
    this.layers = [];
    this.makeLayers();
    if (width) must(this.painter).start(new Mask(width, height));
    this.#revision += 1;
    const initial = this.data("initial-value");
    if (isMap(initial)) this.#read(initial);
    this.showLabels();
  }

  problem() {
    if (this.painter?.points.length) return "A polygon is not finished.";
    return this.waiting ? "The earlier segmentation is still loading." : super.problem();
  }

  /** @param {KeyboardEvent} event @returns {boolean} */
  key(event) {
    return must(this.painter).key(event);
  }

  undo() {
    must(this.painter).history.undo();
  }

  redo() {
    must(this.painter).history.redo();
  }
}

export class CrowdSemanticSegmentation extends SegmentationElement {
  /** Colours that an earlier answer gave to labels. @type {Map<string, string>} */
  #given = new Map();

  makeLayers() {
    const names = this.names;
    // A label that goes keeps its number, so that what is painted with it stays what it is.
    for (const name of names) {
      const layer = this.layers.find(({ label }) => label === name);
      const color = this.colorOf(name);
      if (layer) layer.color = color;
      else if (this.layers.length < MASK_MAX) this.layers.push({ label: name, color });
    }
  }

  /** @param {string} name @returns {string} */
  colorOf(name) {
    return this.#given.get(name) ?? super.colorOf(name);
  }

  /** @param {Record<string, any>} given @returns {Layer[]} */
  layersOf(given) {
    const mappings = isMap(given.labelMappings) ? given.labelMappings : {};
    for (const [label, what] of Object.entries(mappings)) {
      const color = hexColor(isMap(what) ? what.color : what);
      if (color) this.#given.set(label, color);
    }
    const names = [...new Set([...this.names, ...Object.keys(mappings)])].slice(0, MASK_MAX);
    this.meet(names);
    return names.map((label) => ({ label, color: this.colorOf(label) }));
  }

  paintValue() {
    return this.layers.findIndex(({ label }) => label === this.activeName) + 1;
  }

  showLabels() {
    super.showLabels();
    const used = this.painter?.mask.used() ?? new Set();
    const painted = this.layers.filter((_, index) => used.has(index + 1));
    this.pane?.showDrawn(painted.map(({ label, color }) => ({ text: label, detail: "", color, isSelected: false })));
    const pane = must(this.pane);
    pane.onPick = (index) => this.chooseLabel(this.names.indexOf(painted[index].label));
    pane.onRemove = (index) => must(this.painter).erase(this.layers.indexOf(painted[index]) + 1);
  }

  legend() {
    const used = this.painter?.mask.used() ?? new Set();
    const named = this.layers.filter(({ label }, index) => used.has(index + 1) || this.names.includes(label));
    return { labelMappings: Object.fromEntries(named.map(({ label, color }) => [label, { color }])) };
  }
}

export class CrowdInstanceSegmentation extends SegmentationElement {
  things = "Instances";
  keys = /** @type {[string, string][]} */ ([["N", "begin a new instance of the chosen label"], ...KEYS]);
  /** The instance that is painted on; -1 begins a new one. */
  current = -1;

  /** @returns {HTMLElement[]} */
  moreTools() {
    return [this.tool("add", "New instance", () => this.#begin())];
  }

  #begin() {
    this.current = -1;
    this.say("The next stroke begins a new instance");
    this.showLabels();
  }

  /** @param {Record<string, any>} given @returns {Layer[]} */
  layersOf(given) {
    this.current = -1;
    const list = Array.isArray(given.instances) ? given.instances.filter(isMap) : [];
    return list
      .map((item) => ({ label: nameOf(item), color: hexColor(item.color) }))
      .filter(({ color }) => color)
      .slice(0, MASK_MAX);
  }

  #freshColor() {
    const taken = new Set(this.layers.map(({ color }) => color));
    let index = this.layers.length;
    while (taken.has(paletteColor(index))) index += 1;
    return paletteColor(index);
  }

  paintValue() {
    if (this.current < 0) {
      if (!this.activeName || this.layers.length >= MASK_MAX) return 0;
      this.layers.push({ label: this.activeName, color: this.#freshColor() });
      this.current = this.layers.length - 1;
    }
    return this.current + 1;
  }

  /** @param {number} index */
  chooseLabel(index) {
    if (index >= 0 && index < this.names.length) this.current = -1;
    super.chooseLabel(index);
  }

  /** @param {KeyboardEvent} event @returns {boolean} */
  key(event) {
    if (event.key.toLowerCase() !== "n" || event.ctrlKey || event.metaKey) return super.key(event);
    this.#begin();
    return true;
  }

  showLabels() {
    super.showLabels();
    const used = this.painter?.mask.used() ?? new Set();
    const seen = this.layers.map((layer, index) => ({ ...layer, index })).filter(({ index }) => used.has(index + 1));
    this.pane?.showDrawn(
      seen.map(({ label, color, index }) => ({ text: label, detail: "", color, isSelected: index === this.current })),
    );
    const pane = must(this.pane);
    pane.onPick = (row) => {
      this.current = seen[row].index;
      this.active = Math.max(0, this.names.indexOf(seen[row].label));
      this.showLabels();
      pane.focusRow(row);
    };
    pane.onRemove = (row) => must(this.painter).erase(seen[row].index + 1);
  }

  legend() {
    const used = this.painter?.mask.used() ?? new Set();
    const seen = this.layers.filter((_, index) => used.has(index + 1));
    return { instances: seen.map(({ label, color }) => ({ color, label })) };
  }
}

for (const type of [CrowdSemanticSegmentation, CrowdInstanceSegmentation]) reflect(type, { src: "text", header: "text" });
