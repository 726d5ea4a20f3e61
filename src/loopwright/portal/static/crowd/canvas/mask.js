/** A map with one small number a pixel: brush, polygon, undo by changed rectangles, and its picture. */
import { toRgb } from "./palette.js";

/** @typedef {import("./view.js").Point} Point */
/** @typedef {{x: number, y: number, width: number, height: number}} Area */

export const MASK_MAX = 255;

export class Mask {
  /** @type {Area | null} */
  #touched = null;
  /** @type {Uint8Array | null} */
  #before = null;

  /** @param {number} width @param {number} height */
  constructor(width, height) {
    this.width = width;
    this.height = height;
    this.data = new Uint8Array(width * height);
    this.canvas = document.createElement("canvas");
    this.canvas.width = width;
    this.canvas.height = height;
  }

  /** @param {number} left @param {number} top @param {number} right @param {number} bottom @returns {Area} within the map */
  #area(left, top, right, bottom) {
    const [x, y] = [Math.max(0, Math.floor(left)), Math.max(0, Math.floor(top))];
    const width = Math.max(0, Math.min(this.width, Math.ceil(right)) - x);
    return { x, y, width, height: Math.max(0, Math.min(this.height, Math.ceil(bottom)) - y) };
  }

  /** @param {Area} area */
  #touch(area) {
    if (!area.width || !area.height) return;
    const old = this.#touched ?? area;
    const [x, y] = [Math.min(old.x, area.x), Math.min(old.y, area.y)];
    const right = Math.max(old.x + old.width, area.x + area.width);
    const bottom = Math.max(old.y + old.height, area.y + area.height);
    this.#touched = { x, y, width: right - x, height: bottom - y };
  }

  /** Begins one step of undo. */
  begin() {
    this.#before = this.data.slice();
    this.#touched = null;
  }

  /** Ends the step. @returns {{undo: () => void, redo: () => void} | null} null when nothing changed */
  end() {
    const [area, before] = [this.#touched, this.#before];
    this.#before = null;
    this.#touched = null;
    if (!area || !before) return null;
    const [old, fresh] = [this.#cut(before, area), this.#cut(this.data, area)];
    if (old.every((value, index) => value === fresh[index])) return null;
    return { undo: () => this.#paste(old, area), redo: () => this.#paste(fresh, area) };
  }

  /** Gives up what was done since begin(). */
  abandon() {
    if (this.#before) this.data.set(this.#before);
    this.#before = null;
  }

  /** @param {Uint8Array} data @param {Area} area */
  #cut(data, { x, y, width, height }) {
    const part = new Uint8Array(width * height);
    for (let row = 0; row < height; row += 1) {
      const from = (y + row) * this.width + x;
      part.set(data.subarray(from, from + width), row * width);
    }
    return part;
  }

  /** @param {Uint8Array} part @param {Area} area */
  #paste(part, { x, y, width, height }) {
    for (let row = 0; row < height; row += 1) {
      this.data.set(part.subarray(row * width, (row + 1) * width), (y + row) * this.width + x);
    }
  }

  /**
   * All pixels whose middle is within the radius of the way from a to b.
   * @param {Point} a @param {Point} b @param {number} radius @param {number} value
   * @returns {Area} what was touched
   */
  stroke(a, b, radius, value) {
    const [left, right] = [Math.min(a.x, b.x) - radius, Math.max(a.x, b.x) + radius];
    const area = this.#area(left, Math.min(a.y, b.y) - radius, right, Math.max(a.y, b.y) + radius);
    const [dx, dy] = [b.x - a.x, b.y - a.y];
    const length = dx * dx + dy * dy;
    for (let y = area.y; y < area.y + area.height; y += 1) {
      for (let x = area.x; x < area.x + area.width; x += 1) {
        const [px, py] = [x + 0.5 - a.x, y + 0.5 - a.y];
        const t = length ? Math.min(1, Math.max(0, (px * dx + py * dy) / length)) : 0;
        const [ex, ey] = [px - t * dx, py - t * dy];
        if (ex * ex + ey * ey <= radius * radius) this.data[y * this.width + x] = value;
      }
    }
    this.#touch(area);
    return area;
  }

  /** @param {Point[]} points @param {number} value @returns {Area} */
  fill(points, value) {
    const [xs, ys] = [points.map(({ x }) => x), points.map(({ y }) => y)];
    const area = this.#area(Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys));
    for (let y = area.y; y < area.y + area.height; y += 1) {
      /** @type {number[]} */
      const cuts = [];
      points.forEach((a, index) => {
        const b = points[(index + 1) % points.length];
        if (a.y > y + 0.5 !== b.y > y + 0.5) cuts.push(a.x + ((y + 0.5 - a.y) * (b.x - a.x)) / (b.y - a.y));
      });
      cuts.sort((one, other) => one - other);
      for (let cut = 0; cut + 1 < cuts.length; cut += 2) {
        const from = Math.max(0, Math.ceil(cuts[cut] - 0.5));
        const to = Math.min(this.width, Math.ceil(cuts[cut + 1] - 0.5));
        if (to > from) this.data.fill(value, y * this.width + from, y * this.width + to);
      }
    }
    this.#touch(area);
    return area;
  }

  /** @param {number} value @param {number} by @returns {Area} */
  replace(value, by) {
    for (let at = this.data.indexOf(value); at >= 0; at = this.data.indexOf(value, at + 1)) this.data[at] = by;
    this.#touch(this.whole);
    return this.whole;
  }

  /** @returns {Area} */
  get whole() {
    return { x: 0, y: 0, width: this.width, height: this.height };
  }

  /** The numbers in use. @returns {Set<number>} */
  used() {
    const seen = new Uint8Array(MASK_MAX + 1);
    for (const value of this.data) seen[value] = 1;
    const found = new Set([...seen.keys()].filter((value) => seen[value]));
    found.delete(0);
    return found;
  }

  /** Brings the canvas up to date. @param {Area} area @param {string[]} colors of the numbers from 1 on */
  paint({ x, y, width, height }, colors) {
    const context = this.canvas.getContext("2d");
    if (!context || !width || !height) return;
    const image = new ImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    const table = new Uint32Array(MASK_MAX + 1);
    colors.forEach((color, index) => {
      const [r, g, b] = toRgb(color);
      table[index + 1] = ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
    });
    for (let row = 0; row < height; row += 1) {
      const from = (y + row) * this.width + x;
      for (let column = 0; column < width; column += 1) pixels[row * width + column] = table[this.data[from + column]];
    }
    context.putImageData(image, x, y);
  }

  /**
   * Takes over a picture whose colours stand for numbers: the same colour, or the nearest that is near.
   * @param {CanvasImageSource} picture @param {string[]} colors of the numbers from 1 on
   */
  read(picture, colors) {
    const canvas = document.createElement("canvas");
    canvas.width = this.width;
    canvas.height = this.height;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    if (!context) return;
    context.imageSmoothingEnabled = false;
    context.drawImage(picture, 0, 0, this.width, this.height);
    const { data } = context.getImageData(0, 0, this.width, this.height);
    const pixels = new Uint32Array(data.buffer);
    const targets = colors.map(toRgb);
    /** @type {Map<number, number>} */
    const known = new Map();
    for (let index = 0; index < pixels.length; index += 1) {
      const pixel = pixels[index];
      let value = known.get(pixel);
      if (value === undefined) known.set(pixel, (value = nearestColor(pixel, targets)));
      this.data[index] = value;
    }
  }
}

const NEAR = 40;

/** @param {number} pixel as it lies in memory @param {number[][]} targets @returns {number} from 1 on; 0 for none */
function nearestColor(pixel, targets) {
  if (pixel >>> 24 < 128) return 0;
  let [best, found] = [NEAR * NEAR, 0];
  targets.forEach(([r, g, b], index) => {
    const [dr, dg, db] = [(pixel & 255) - r, ((pixel >> 8) & 255) - g, ((pixel >> 16) & 255) - b];
    const distance = dr * dr + dg * dg + db * db;
    if (distance < best) [best, found] = [distance, index + 1];
  });
  return found;
}
