/** crowd-entity-annotation: labels on parts of a text. At the root of a page it brings its own form. */
import { isMap, reflect } from "../base.js";
import { History } from "../canvas/history.js";
import { LabelsPane, PANE_CSS } from "../canvas/labels.js";
import { hexColor, inkOn, paletteColor } from "../canvas/palette.js";
import { el, must } from "../dom.js";
import { CrowdForm } from "../form.js";
import { icon } from "../icons.js";
import { TaskElement, digitOf, nameOf, shortcuts } from "../task.js";
import { TEXT_CSS, TextView } from "./view.js";

/** @typedef {{label: string, startOffset: number, endOffset: number}} Entity */
/** @typedef {{label: string, short: string, full: string, color: string}} Label */

const CSS = `
.work { display: flex; gap: 1rem; align-items: flex-start; } .board { flex: 1; min-width: 0; }
.toolbar { display: flex; gap: 4px; align-items: center; margin-bottom: .5rem; flex-wrap: wrap; }
@media (max-width: 820px) { .work { flex-direction: column-reverse; align-items: stretch; } }
`;
const HINT = "Choose a label, then drag over words or double-click one: they get that label. Choose another label to change the newest mark, or one that you press.";
const KEYS = "Keys: numbers choose labels, Delete removes a mark; Shift and arrows select, Enter labels, Tab goes from mark to mark. Alt while dragging takes single letters.";

export class CrowdEntityAnnotation extends TaskElement {
  static observedAttributes = ["text", "labels", "header", "initial-value"];
  /** @type {Entity[]} */
  entities = [];
  active = 0;
  selected = -1;
  history = new History();
  /** @type {(() => void) | null} */
  #unlisten = null;

  setup() {
    super.setup();
    for (const css of [TEXT_CSS, PANE_CSS, CSS]) this.wear(css);
    const view = new TextView(this.attr("header") || "Text to label");
    this.view = view;
    view.onSelect = () => this.apply();
    view.onMark = (index) => this.pick(index);
    view.say = (text) => this.say(text);
    view.element.addEventListener("keydown", (event) => {
      if (!event.defaultPrevented && this.#key(event)) event.preventDefault();
    });
    this.pane = new LabelsPane("Entities");
    this.pane.onLabel = (index) => this.chooseLabel(index);
    this.pane.onPick = (index) => {
      this.pick(index);
      this.pane?.focusRow(index);
    };
    this.pane.onRemove = (index) => this.drop(index);
    this.status = el("p", { class: "visually-hidden", role: "status", "aria-live": "polite" });
    this.note = el("p", { class: "error", role: "alert", hidden: true });
    this.undoButton = this.#tool("undo", "Undo", () => this.history.undo());
    this.redoButton = this.#tool("redo", "Redo", () => this.history.redo());
    const hint = el("span", { class: "hint" }, HINT, el("span", { class: "keyboard", text: ` ${KEYS}` }));
    const bar = el("div", { class: "toolbar", role: "toolbar", "aria-label": "Tools" }, this.undoButton, this.redoButton, hint);
    const board = el("div", { class: "board" }, bar, view.element, this.note, this.status);
    must(this.area).append(el("div", { class: "wide work" }, board, this.pane.element));
    this.history.onChange = () => this.draw();
    this.#canonical();
    this.#begin();
    if (!this.closest("crowd-form")) this.#bringForm();
  }

  /** @param {string} face @param {string} name @param {() => void} act */
  #tool(face, name, act) {
    return el("button", { type: "button", class: "plain icon", "aria-label": name, title: name, onclick: act }, icon(face));
  }

  #bringForm() {
    const form = document.createElement("crowd-form");
    if (form instanceof CrowdForm) form.owner = this;
    form.append(...this.root.childNodes);
    this.root.append(form);
    // Changes of what a template puts into the form are seen by nobody outside.
    this.root.addEventListener("change", () => document.dispatchEvent(new Event("crowd-changed-inside")));
  }

  #begin() {
    must(this.view).setText(this.attr("text"));
    const initial = this.data("initial-value");
    this.put(isMap(initial) ? initial.entities : initial);
  }

  #canonical() {
    const text = JSON.stringify(this.items("labels"));
    if (this.hasAttribute("labels") && this.getAttribute("labels") !== text) this.setAttribute("labels", text);
  }

  connected() {
    this.#unlisten = shortcuts(this, (event) => {
      const digit = digitOf(event);
      if (digit < 0 || digit >= this.known.length) return false;
      this.chooseLabel(digit);
      return true;
    });
  }

  disconnected() {
    this.#unlisten?.();
  }

  /** @param {string} name */
  changed(name) {
    if (name === "header") this.titled();
    else if (name === "labels") {
      this.#canonical();
      this.draw();
    } else this.#begin();
  }

  /** @returns {any[]} */
  get labels() {
    return [...this.items("labels")];
  }

  set labels(labels) {
    this.write("labels", labels);
  }

  /** @returns {Label[]} */
  get known() {
    return this.items("labels").map((item, index) => {
      const label = nameOf(item);
      const map = isMap(item) ? item : {};
      const full = String(map.fullDisplayName ?? map.longDisplayName ?? label);
      return { label, full, short: String(map.shortDisplayName ?? label), color: hexColor(map.color) || paletteColor(index) };
    });
  }

  /** @param {string} label @returns {Label} */
  #lookOf(label) {
    return this.known.find((item) => item.label === label) ?? { label, short: label, full: label, color: "#52606d" };
  }

  /** @param {unknown} list of entities as in an answer */
  put(list) {
    const length = this.view?.points.length ?? 0;
    const entities = (Array.isArray(list) ? list : []).filter(isMap).map((item) => ({
      label: String(item.label ?? ""),
      startOffset: Number(item.startOffset),
      endOffset: Number(item.endOffset),
    }));
    this.entities = entities.filter(
      ({ startOffset, endOffset }) => startOffset >= 0 && startOffset < endOffset && endOffset <= length,
    );
    this.selected = -1;
    this.history.clear();
  }

  draw() {
    const { view, pane } = this;
    if (!view || !pane || !this.area) return;
    const looks = this.entities.map(({ label }) => this.#lookOf(label));
    view.setMarks(
      this.entities.map(({ startOffset, endOffset }, index) => {
        const { color, short, full } = looks[index];
        return { start: startOffset, end: endOffset, color, tag: short, title: full, isSelected: index === this.selected };
      }),
    );
    view.element.style.setProperty("--mark-ink", "#fff");
    for (const span of view.element.querySelectorAll(".mark")) {
      if (!(span instanceof HTMLElement)) continue;
      span.style.setProperty("--mark-ink", inkOn(looks[Number(span.dataset.mark)].color));
    }
    const count = (/** @type {string} */ name) => this.entities.filter(({ label }) => label === name).length;
    const entries = this.known.map(({ label, full, color }) => ({ name: full, title: label, color, count: count(label) }));
    pane.showLabels(entries, this.active);
    pane.showDrawn(
      this.entities.map(({ startOffset, endOffset }, index) => {
        const text = view.slice({ start: startOffset, end: Math.min(endOffset, startOffset + 60) });
        return { text, detail: looks[index].full, color: looks[index].color, isSelected: index === this.selected };
      }),
    );
    must(this.undoButton).disabled = !this.history.canUndo;
    must(this.redoButton).disabled = !this.history.canRedo;
  }

  /** @param {Entity[]} entities @param {string} text */
  #change(entities, text) {
    const before = this.entities;
    const after = [...entities].sort((a, b) => a.startOffset - b.startOffset || a.endOffset - b.endOffset);
    /** @param {Entity[]} list */
    const put = (list) => () => {
      this.entities = list;
      this.selected = -1;
      this.announce();
    };
    put(after)();
    this.history.push({ undo: put(before), redo: put(after) });
    this.complain("");
    this.say(text);
  }

  /** Labels what is selected; what it overlaps gives way. */
  apply() {
    const span = this.view?.span;
    const label = this.known[this.active]?.label;
    if (!span || !label) return;
    const rest = this.entities.filter(({ startOffset, endOffset }) => endOffset <= span.start || startOffset >= span.end);
    this.view?.select({ anchor: span.end, head: span.end });
    const text = this.view?.slice(span);
    const made = { label, startOffset: span.start, endOffset: span.end };
    this.#change([...rest, made], `${text} is ${label}. A number changes the label, Delete removes it.`);
    // It is the one that a key means now.
    this.selected = this.entities.indexOf(made);
    this.draw();
  }

  /** @param {number} index */
  pick(index) {
    this.selected = index;
    const entity = this.entities[index];
    if (entity) {
      const text = this.view?.slice({ start: entity.startOffset, end: entity.endOffset });
      this.say(`${entity.label}: ${text}. A number changes the label, Delete removes it.`);
    }
    this.draw();
  }

  /** @param {number} index */
  drop(index) {
    const gone = this.entities[index];
    if (gone) this.#change(this.entities.filter((_, at) => at !== index), `${gone.label} removed`);
  }

  /** @param {number} index */
  chooseLabel(index) {
    this.active = index;
    const label = this.known[index]?.label;
    if (this.view?.span) this.apply();
    else if (this.selected >= 0 && label) {
      const at = this.selected;
      this.#change(this.entities.map((entity, other) => (other === at ? { ...entity, label } : entity)), `Now ${label}`);
      this.selected = at;
    } else this.say(`Label ${label}`);
    this.draw();
  }

  /** @param {KeyboardEvent} event @returns {boolean} */
  #key(event) {
    const view = must(this.view);
    const key = event.key.toLowerCase();
    if ((event.ctrlKey || event.metaKey) && (key === "z" || key === "y")) {
      if (key === "y" || event.shiftKey) this.history.redo();
      else this.history.undo();
    } else if (key === "tab") {
      const next = this.selected + (event.shiftKey ? -1 : 1);
      if (next < 0 || next >= this.entities.length) {
        this.pick(-1);
        return false;
      }
      this.pick(next);
    } else if (key === "delete" || key === "backspace") {
      const head = view.selection?.head ?? -1;
      const at = this.entities.findIndex(({ startOffset, endOffset }) => startOffset <= head && head <= endOffset);
      this.drop(this.selected >= 0 ? this.selected : at);
    } else if (key === "enter") this.apply();
    else if (key === "escape") {
      view.select(null);
      this.pick(-1);
    } else return view.key(event);
    return true;
  }

  /** @param {string} text */
  say(text) {
    if (this.status) this.status.textContent = text;
  }

  focus() {
    this.view?.element.focus();
  }

  /** @returns {any} */
  get value() {
    return { entities: this.entities.map((entity) => ({ ...entity })) };
  }

  set value(value) {
    this.restore(value);
  }

  submittable() {
    return this.value;
  }

  /** @param {unknown} value */
  restore(value) {
    if (isMap(value)) this.put(value.entities);
  }

  reset() {
    this.#begin();
  }

  /** @param {string} message */
  complain(message) {
    const note = must(this.note);
    note.textContent = message;
    note.hidden = !message;
  }
}

reflect(CrowdEntityAnnotation, { text: "text", header: "text" });
