/** What an earlier task found, shown on a picture that is judged: boxes, other shapes, or a mask. */
import { isMap } from "../base.js";
import { safeUrl } from "../dom.js";
import { nameOf } from "../task.js";
import { drawShape } from "./draw.js";
import { hexColor, paletteColor } from "./palette.js";
import { shapesOf } from "./vector.js";

/** @typedef {import("./view.js").View} View */
/** @typedef {import("./shapes.js").Kind} Kind */

/** @type {Record<string, Kind>} */
const KIND_OF = { boundingBox: "box", polygon: "polygon", polyline: "polyline", line: "line", keypoint: "keypoint" };
const MASK_ALPHA = 0.55;

export class OverlayLayer {
  /** @param {View} view */
  constructor(view) {
    this.view = view;
    /** @type {{kind: Kind, shape: import("./shapes.js").Shape, color: string}[]} */
    this.drawn = [];
    /** @type {HTMLImageElement | null} */
    this.mask = null;
    view.drawOver = (context) => {
      for (const what of this.drawn) drawShape(context, view, what);
    };
    view.drawUnder = (context) => {
      if (!this.mask) return;
      context.globalAlpha = MASK_ALPHA;
      context.imageSmoothingEnabled = false;
      context.drawImage(this.mask, 0, 0, view.size.x, view.size.y);
      context.globalAlpha = 1;
    };
  }

  /** @param {unknown} overlay the attribute's object, with the name of the earlier task's type as its key */
  show(overlay) {
    this.drawn = [];
    this.mask = null;
    if (!isMap(overlay)) return this.view.draw();
    for (const [type, what] of Object.entries(overlay)) {
      const kind = Object.hasOwn(KIND_OF, type) ? KIND_OF[type] : null;
      if (kind && isMap(what)) this.#addShapes(kind, what);
      else if (isMap(what) && typeof what.src === "string") this.#addMask(what.src);
    }
    this.view.draw();
  }

  /** @param {Kind} kind @param {Record<string, any>} what */
  #addShapes(kind, what) {
    const labels = Array.isArray(what.labels) ? what.labels.map(nameOf) : [];
    const list = Array.isArray(what.value) ? what.value : [];
    for (const shape of list.flatMap((item) => shapesOf(item, kind))) {
      const index = labels.includes(shape.label) ? labels.indexOf(shape.label) : labels.push(shape.label) - 1;
      const own = Array.isArray(what.labelColors) ? hexColor(what.labelColors[index]) : "";
      this.drawn.push({ kind, shape, color: own || paletteColor(index) });
    }
  }

  /** @param {string} src */
  #addMask(src) {
    const mask = new Image();
    mask.addEventListener("load", () => {
      this.mask = mask;
      this.view.draw();
    });
    mask.src = safeUrl(src, "picture");
  }
}
