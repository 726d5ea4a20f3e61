/** A picture on two canvases: fits, zooms, pans, stays crisp, and tells where in the picture a pointer is. */
import { clamp, el } from "../dom.js";

/** @typedef {{x: number, y: number}} Point */
/**
 * @typedef {object} Tool What listens to the pointer, in pixels of the picture.
 * @property {(point: Point, event: PointerEvent) => void} down
 * @property {(point: Point, event: PointerEvent, isDown: boolean) => void} move
 * @property {(point: Point, event: PointerEvent) => void} up
 * @property {() => void} cancel
 */

const ZOOM_MAX = 40;
const ENLARGE_MAX = 8;
const HEIGHT_SHARE = 0.74;
const HEIGHT_LEAST = 240;

export const VIEW_CSS = `
.stage { position: relative; touch-action: none; margin: 0 auto; background: light-dark(#e4e7eb, #2b343f); border-radius: 4px; min-height: 80px;
  user-select: none; -webkit-user-select: none; }
.stage canvas { position: absolute; inset: 0; width: 100%; height: 100%; display: block; }
.upper-canvas { cursor: crosshair; }
.stage.panning .upper-canvas { cursor: grab; }
.stage .loading { position: absolute; inset: 0; display: grid; place-content: center; color: var(--quiet); padding: 1rem;
  text-align: center; gap: .5rem; justify-items: center; }
`;

export class View {
  /** @type {Point} */
  size = { x: 0, y: 0 };
  scale = 1;
  /** Where the picture's corner is, in CSS pixels of the stage. @type {Point} */
  offset = { x: 0, y: 0 };
  /** @type {Tool | null} */
  tool = null;
  /** Draws what lies on the picture below the shapes. @type {(context: CanvasRenderingContext2D) => void} */
  drawUnder = () => {};
  /** Draws shapes, in CSS pixels of the stage. @type {(context: CanvasRenderingContext2D) => void} */
  drawOver = () => {};
  /** @type {() => void} */
  onLoad = () => {};
  /** @type {() => void} */
  onZoom = () => {};
  isPanTool = false;
  /** @type {HTMLImageElement | null} */
  #image = null;
  #isDue = false;
  #isSpaceDown = false;
  #fitScale = 1;
  /** @type {Map<number, Point>} */
  #pointers = new Map();
  /** @type {"none" | "tool" | "pan" | "pinch"} */
  #gesture = "none";
  #src = "";
  failed = false;

  /** @param {string} label what the canvas is, for those who do not see it */
  constructor(label) {
    this.lower = el("canvas", { class: "lower-canvas", "aria-hidden": "true" });
    this.upper = el("canvas", { class: "upper-canvas", tabindex: "0", role: "application", "aria-label": label });
    this.loading = el("div", { class: "loading", role: "status", hidden: true });
    this.stage = el("div", { class: "stage" }, this.lower, this.upper, this.loading);
    this.frame = el("div", { class: "frame" }, this.stage);
    this.observer = new ResizeObserver(() => this.layout());
    this.resized = () => this.layout();
    this.#listen();
  }

  get isLoaded() {
    return this.size.x > 0;
  }

  start() {
    this.observer.observe(this.frame);
    window.addEventListener("resize", this.resized);
  }

  stop() {
    this.observer.disconnect();
    window.removeEventListener("resize", this.resized);
  }

  /** @param {string} src */
  load(src) {
    if (this.#src === src && !this.failed) return;
    this.#src = src;
    this.failed = false;
    this.#image = null;
    this.size = { x: 0, y: 0 };
    this.#wait("Loading the picture…");
    if (!src) return this.#fail("There is no picture to show.");
    this.#fetch(src, true);
  }

  /** @param {string} src @param {boolean} isShared whether to ask with CORS */
  #fetch(src, isShared) {
    const image = new Image();
    if (isShared) image.crossOrigin = "anonymous";
    image.addEventListener("load", () => {
      if (src !== this.#src) return;
      this.#image = image;
      this.size = { x: image.naturalWidth || 1, y: image.naturalHeight || 1 };
      this.loading.hidden = true;
      this.layout();
      this.fit();
      this.onLoad();
    });
    image.addEventListener("error", () => {
      if (src !== this.#src) return;
      // Only drawn, never read: a picture of a server that knows no CORS will do.
      if (isShared) this.#fetch(src, false);
      else this.#fail("The picture could not be loaded.");
    });
    image.src = src;
  }

  /** @param {string} text */
  #wait(text) {
    this.loading.replaceChildren(text);
    this.loading.hidden = false;
  }

  /** @param {string} text */
  #fail(text) {
    this.failed = true;
    this.#wait(text);
    const again = el("button", { type: "button", class: "plain", text: "Try again", onclick: () => this.load(this.#src) });
    if (this.#src) this.loading.append(again);
  }

  /** Gives the stage the picture's shape, as large as the place allows. */
  layout() {
    const place = this.frame.clientWidth;
    if (!place || !this.isLoaded) return this.draw();
    const tallest = Math.max(HEIGHT_LEAST, window.innerHeight * HEIGHT_SHARE);
    const scale = Math.min(place / this.size.x, tallest / this.size.y, ENLARGE_MAX);
    const wasFit = Math.abs(this.scale - this.#fitScale) < 1e-9;
    const [width, height] = [Math.max(1, this.size.x * scale), Math.max(1, this.size.y * scale)];
    this.stage.style.width = `${width}px`;
    this.stage.style.height = `${height}px`;
    const ratio = window.devicePixelRatio || 1;
    for (const canvas of [this.lower, this.upper]) {
      const [pixelWidth, pixelHeight] = [Math.round(width * ratio), Math.round(height * ratio)];
      if (canvas.width !== pixelWidth) canvas.width = pixelWidth;
      if (canvas.height !== pixelHeight) canvas.height = pixelHeight;
    }
    this.#fitScale = scale;
    if (wasFit) this.fit();
    else this.#settle();
  }

  fit() {
    this.scale = this.#fitScale;
    this.offset = { x: 0, y: 0 };
    this.#settle();
  }

  get zoom() {
    return this.scale / this.#fitScale;
  }

  /** Keeps the picture on the stage. */
  #settle() {
    const [width, height] = [this.stage.clientWidth, this.stage.clientHeight];
    this.offset.x = clamp(this.offset.x, Math.min(0, width - this.size.x * this.scale), 0);
    this.offset.y = clamp(this.offset.y, Math.min(0, height - this.size.y * this.scale), 0);
    // A picture that is only looked at lets a finger scroll the page while all of it is seen.
    this.stage.style.touchAction = this.isPanTool && this.zoom <= 1.001 ? "pan-y" : "none";
    this.onZoom();
    this.draw();
  }

  /** @param {number} factor @param {Point} [around] in CSS pixels of the stage */
  zoomBy(factor, around = { x: this.stage.clientWidth / 2, y: this.stage.clientHeight / 2 }) {
    const scale = clamp(this.scale * factor, this.#fitScale, Math.max(ZOOM_MAX, this.#fitScale * 2));
    const change = scale / this.scale;
    this.offset = { x: around.x - (around.x - this.offset.x) * change, y: around.y - (around.y - this.offset.y) * change };
    this.scale = scale;
    this.#settle();
  }

  /** @param {number} x @param {number} y */
  panBy(x, y) {
    this.offset = { x: this.offset.x + x, y: this.offset.y + y };
    this.#settle();
  }

  /** Pans until a point of the picture is seen. @param {Point} point */
  show(point) {
    const at = this.toStage(point);
    const margin = 24;
    const [width, height] = [this.stage.clientWidth, this.stage.clientHeight];
    const x = at.x < margin ? margin - at.x : at.x > width - margin ? width - margin - at.x : 0;
    const y = at.y < margin ? margin - at.y : at.y > height - margin ? height - margin - at.y : 0;
    if (x || y) this.panBy(x, y);
  }

  /** @param {Point} point of the picture @returns {Point} CSS pixels of the stage */
  toStage(point) {
    return { x: point.x * this.scale + this.offset.x, y: point.y * this.scale + this.offset.y };
  }

  /** @param {{clientX: number, clientY: number}} event @returns {Point} pixels of the picture, inside it */
  toPicture(event) {
    const box = this.upper.getBoundingClientRect();
    return {
      x: clamp((event.clientX - box.left - this.offset.x) / this.scale, 0, this.size.x),
      y: clamp((event.clientY - box.top - this.offset.y) / this.scale, 0, this.size.y),
    };
  }

  draw() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.#paint();
    });
  }

  #paint() {
    const ratio = window.devicePixelRatio || 1;
    const [under, over] = [this.lower.getContext("2d"), this.upper.getContext("2d")];
    if (!under || !over) return;
    for (const context of [under, over]) {
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.clearRect(0, 0, this.lower.width, this.lower.height);
    }
    if (!this.#image) return;
    const scale = this.scale * ratio;
    under.setTransform(scale, 0, 0, scale, this.offset.x * ratio, this.offset.y * ratio);
    under.imageSmoothingEnabled = this.scale < 3;
    under.drawImage(this.#image, 0, 0, this.size.x, this.size.y);
    this.drawUnder(under);
    over.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.drawOver(over);
  }

  #listen() {
    const { upper } = this;
    upper.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    upper.addEventListener("pointerdown", (event) => this.#down(event));
    upper.addEventListener("pointermove", (event) => this.#move(event));
    upper.addEventListener("pointerup", (event) => this.#up(event));
    upper.addEventListener("pointercancel", (event) => this.#up(event));
    upper.addEventListener("contextmenu", (event) => event.preventDefault());
    upper.addEventListener("auxclick", (event) => event.preventDefault());
    upper.addEventListener("keydown", (event) => event.key === " " && this.holdSpace(true));
    upper.addEventListener("keyup", (event) => event.key === " " && this.holdSpace(false));
    upper.addEventListener("blur", () => this.holdSpace(false));
  }

  /** While the space bar is down, dragging pans. @param {boolean} isDown */
  holdSpace(isDown) {
    this.#isSpaceDown = isDown;
    this.stage.classList.toggle("panning", isDown || this.isPanTool);
  }

  /** @param {boolean} isOn */
  setPanTool(isOn) {
    this.isPanTool = isOn;
    this.holdSpace(this.#isSpaceDown);
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    // Out of room: the page scrolls on.
    if (!this.isLoaded || (event.deltaY > 0 && this.zoom <= 1.0001)) return;
    event.preventDefault();
    const box = this.upper.getBoundingClientRect();
    const pixels = event.deltaY * (event.deltaMode === 1 ? 30 : 1);
    const speed = event.ctrlKey ? 0.01 : 0.0022;
    this.zoomBy(Math.exp(clamp(-pixels * speed, -0.7, 0.7)), { x: event.clientX - box.left, y: event.clientY - box.top });
  }

  /** @param {PointerEvent} event */
  #down(event) {
    if (!this.isLoaded) return;
    this.upper.focus({ preventScroll: true });
    this.#pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    try {
      this.upper.setPointerCapture(event.pointerId);
    } catch {
      // A pointer that is gone already cannot be held.
    }
    if (this.#pointers.size > 1) {
      if (this.#gesture === "tool") this.tool?.cancel();
      this.#gesture = "pinch";
    } else if (event.button === 1 || this.#isSpaceDown || this.isPanTool) {
      event.preventDefault();
      this.#gesture = "pan";
    } else if (event.button === 0) {
      this.#gesture = "tool";
      this.tool?.down(this.toPicture(event), event);
    }
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const before = this.#pointers.get(event.pointerId);
    const now = { x: event.clientX, y: event.clientY };
    if (this.#gesture === "pinch" && before) return this.#pinch(event.pointerId, before, now);
    if (before) this.#pointers.set(event.pointerId, now);
    if (this.#gesture === "pan" && before) this.panBy(now.x - before.x, now.y - before.y);
    else if (this.isLoaded && (this.#gesture === "none" || this.#gesture === "tool")) {
      this.tool?.move(this.toPicture(event), event, this.#gesture === "tool");
    }
  }

  /** @param {number} id @param {Point} before @param {Point} now */
  #pinch(id, before, now) {
    const other = [...this.#pointers].find(([key]) => key !== id)?.[1];
    this.#pointers.set(id, now);
    if (!other) return;
    const box = this.upper.getBoundingClientRect();
    const [was, is] = [before, now].map((point) => Math.hypot(point.x - other.x, point.y - other.y));
    const middle = { x: (now.x + other.x) / 2 - box.left, y: (now.y + other.y) / 2 - box.top };
    this.panBy((now.x - before.x) / 2, (now.y - before.y) / 2);
    if (was > 8 && is > 8) this.zoomBy(is / was, middle);
  }

  /** @param {PointerEvent} event */
  #up(event) {
    if (!this.#pointers.delete(event.pointerId)) return;
    const gesture = this.#gesture;
    if (gesture === "tool" && event.type === "pointercancel") this.tool?.cancel();
    else if (gesture === "tool") this.tool?.up(this.toPicture(event), event);
    // After a pinch the finger that stays does nothing.
    if (!this.#pointers.size) this.#gesture = "none";
  }
}
