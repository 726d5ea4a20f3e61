/** What all elements with a canvas share: picture, tools, labels, help, and what is told to screen readers. */
import { el, must } from "../dom.js";
import { icon } from "../icons.js";
import { dialogOf } from "../surfaces.js";
import { TaskElement, digitOf, nameOf, shortcuts } from "../task.js";
import { isMap } from "../base.js";
import { LabelsPane, PANE_CSS } from "./labels.js";
import { hexColor, paletteColor } from "./palette.js";
import { VIEW_CSS, View } from "./view.js";

const CSS = `
.work { display: flex; gap: 1rem; align-items: flex-start; }
.board { flex: 1; min-width: 0; }
.toolbar { display: flex; flex-wrap: wrap; gap: 4px; align-items: center; margin-bottom: .5rem; }
.toolbar .gap { flex: 1; }
.toolbar output { min-width: 3.6rem; text-align: center; font-variant-numeric: tabular-nums; color: var(--quiet);
  font-size: .9rem; }
.toolbar .sep { width: 1px; align-self: stretch; background: var(--line); margin: 4px; }
.toolbar input[type=range] { width: 110px; accent-color: var(--accent); }
.toolbar label { display: inline-flex; align-items: center; gap: .4rem; font-size: .9rem; }
.keys { border-collapse: collapse; width: 100%; } .keys td { padding: .35rem .5rem; border-top: 1px solid var(--line);
  vertical-align: top; } .keys td:first-child { white-space: nowrap; width: 40%; }
@media (max-width: 820px) { .work { flex-direction: column; align-items: stretch; } .plain.icon { min-width: 42px;
  min-height: 42px; } }
`;

/** @type {[string, string][]} */
const COMMON_KEYS = [
  ["1 … 9 / 0", "choose a label"],
  ["Ctrl Z / Ctrl Shift Z", "undo / redo"],
  ["+ / - / F", "zoom in / out / fit; also the wheel and two fingers"],
  ["Space drag", "move the picture; also the middle button, two fingers, Alt + arrows"],
  ["Ctrl Enter", "submit the task"],
  ["?", "this help"],
];

export class CanvasElement extends TaskElement {
  /** The plural of what is drawn. */
  things = "Shapes";
  /** @type {[string, string][]} */
  keys = [];
  /** The label that is drawn with. */
  active = 0;
  /** @type {(() => void) | null} */
  #unlisten = null;

  setup() {
    super.setup();
    for (const css of [VIEW_CSS, PANE_CSS, CSS]) this.wear(css);
    this.view = new View(this.attr("header") || `Picture for ${this.things.toLowerCase()}`);
    this.pane = new LabelsPane(this.things);
    this.status = el("p", { class: "visually-hidden", role: "status", "aria-live": "polite" });
    this.note = el("p", { class: "error", role: "alert", hidden: true });
    this.zoomed = el("output", { "aria-label": "Zoom", text: "100%" });
    this.bar = el("div", { class: "toolbar", role: "toolbar", "aria-label": "Tools" });
    const board = el("div", { class: "board" }, this.bar, this.view.frame, this.note, this.status);
    must(this.area).append(el("div", { class: "wide work" }, board, this.pane.element));
    this.pane.onLabel = (index) => this.chooseLabel(index);
    this.view.onZoom = () => (must(this.zoomed).textContent = `${Math.round(must(this.view).zoom * 100)}%`);
    this.view.onLoad = () => this.loaded();
    this.view.upper.addEventListener("keydown", (event) => {
      if (!event.defaultPrevented && this.key(event)) event.preventDefault();
    });
    this.fillBar();
    this.#canonical();
    this.start();
    this.showLabels();
    this.view.load(this.address("src", "picture"));
  }

  /** Builds what draws; the view and the pane are there. */
  start() {}

  /** The picture came: its size is known. */
  loaded() {
    this.complain("");
  }

  connected() {
    this.view?.start();
    this.#unlisten = shortcuts(this, (event) => this.#shortcut(event));
  }

  disconnected() {
    this.view?.stop();
    this.#unlisten?.();
  }

  /** @param {string} name */
  changed(name) {
    if (name === "header") this.titled();
    else if (name === "src") must(this.view).load(this.address("src", "picture"));
    else if (name === "labels" || name === "label-colors") {
      this.#canonical();
      this.active = Math.min(this.active, Math.max(this.names.length - 1, 0));
      this.showLabels();
    }
  }

  /** Scripts read the attribute as JSON proper. */
  #canonical() {
    const items = this.items("labels");
    const text = JSON.stringify(items);
    if (this.hasAttribute("labels") && this.getAttribute("labels") !== text) this.setAttribute("labels", text);
  }

  // Labels.

  /** @returns {any[]} */
  get labels() {
    return [...this.items("labels")];
  }

  set labels(labels) {
    this.write("labels", labels);
  }

  get names() {
    return this.items("labels").map(nameOf);
  }

  /** Labels of an earlier answer that the template does not list join the list. @param {string[]} names */
  meet(names) {
    const known = new Set(this.names);
    const fresh = [...new Set(names)].filter((name) => name && !known.has(name));
    if (fresh.length) this.labels = [...this.labels, ...fresh];
  }

  /** @param {string} name @returns {string} */
  colorOf(name) {
    const index = this.names.indexOf(name);
    const given = this.data("label-colors");
    const own = Array.isArray(given) ? given[index] : isMap(given) ? given[name] : undefined;
    return hexColor(own) || (index < 0 ? "#52606d" : paletteColor(index));
  }

  get activeName() {
    return this.names[this.active] ?? "";
  }

  /** @param {number} index */
  chooseLabel(index) {
    if (index < 0 || index >= this.names.length) return;
    this.active = index;
    this.say(`Label ${this.names[index]}`);
    this.showLabels();
  }

  /** How many things have a label. @param {string} _name @returns {number} */
  countOf(_name) {
    return 0;
  }

  showLabels() {
    const entries = this.items("labels").map((item) => {
      const name = nameOf(item);
      const title = isMap(item) && item.fullDisplayName ? String(item.fullDisplayName) : "";
      return { name, title, color: this.colorOf(name), count: this.countOf(name) };
    });
    this.pane?.showLabels(entries, this.active);
    this.view?.draw();
  }

  // The toolbar.

  /**
   * @param {string} face the icon's name
   * @param {string} name
   * @param {() => void} act
   */
  tool(face, name, act) {
    const button = el("button", { type: "button", class: "plain icon", "aria-label": name, title: name }, icon(face));
    button.addEventListener("click", () => {
      act();
      must(this.view).draw();
    });
    return button;
  }

  fillBar() {
    const [view, bar] = [must(this.view), must(this.bar)];
    this.undoButton = this.tool("undo", "Undo", () => this.undo());
    this.redoButton = this.tool("redo", "Redo", () => this.redo());
    const pan = this.tool("pan", "Move the picture", () => {
      view.setPanTool(!view.isPanTool);
      pan.setAttribute("aria-pressed", String(view.isPanTool));
    });
    pan.setAttribute("aria-pressed", "false");
    const out = this.tool("zoom-out", "Zoom out", () => view.zoomBy(0.8));
    const into = this.tool("zoom-in", "Zoom in", () => view.zoomBy(1.25));
    const fit = this.tool("fit", "Fit the picture", () => view.fit());
    const separator = () => el("span", { class: "sep" });
    bar.append(this.undoButton, this.redoButton, separator(), out, must(this.zoomed), into, fit, pan);
    const tools = this.tools();
    if (tools.length) bar.append(separator(), ...tools);
    bar.append(el("span", { class: "gap" }), this.tool("help", "Keys and help", () => this.help()));
  }

  /** More buttons of the kind. @returns {HTMLElement[]} */
  tools() {
    return [];
  }

  undo() {}

  redo() {}

  help() {
    if (!this.helpDialog) {
      const table = el("table", { class: "keys" });
      for (const [keys, what] of [...this.keys, ...COMMON_KEYS]) {
        const cell = el("td");
        for (const key of keys.trim().split(" ")) cell.append(/^[/…]$/.test(key) ? key : el("kbd", { text: key }), " ");
        table.append(el("tr", {}, cell, el("td", { text: what })));
      }
      const hint = "Keys work while the picture has the focus: click it, or go to it with Tab.";
      this.helpDialog = dialogOf("Keys and help", el("p", { class: "hint", text: hint }), table).dialog;
      this.root.append(this.helpDialog);
    }
    this.helpDialog.showModal();
  }

  /** @param {KeyboardEvent} event @returns {boolean} whether it was a key of the canvas */
  key(event) {
    void event;
    return false;
  }

  /** @param {KeyboardEvent} event */
  #shortcut(event) {
    if (event.key === "?") {
      this.help();
      return true;
    }
    const digit = digitOf(event);
    if (digit < 0 || digit >= this.names.length) return false;
    this.chooseLabel(digit);
    return true;
  }

  /** Tells those who hear the page. @param {string} text */
  say(text) {
    if (this.status) this.status.textContent = text;
  }

  focus() {
    this.view?.upper.focus();
  }

  /** @returns {{width: number, height: number}} */
  get pictureSize() {
    const size = this.view?.size ?? { x: 0, y: 0 };
    return { width: size.x, height: size.y };
  }

  /** @returns {string} */
  problem() {
    if (this.view?.isLoaded) return "";
    return this.view?.failed ? "The picture could not be loaded." : "The picture is still loading.";
  }

  /** @param {string} message */
  complain(message) {
    const note = must(this.note);
    note.textContent = message;
    note.hidden = !message;
  }
}
