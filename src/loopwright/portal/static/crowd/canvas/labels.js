/** The pane beside a canvas: labels to choose from, and the list of what is drawn. */
import { el, must } from "../dom.js";
import { icon } from "../icons.js";

/** @typedef {{name: string, title: string, color: string, count: number}} Entry */
/** @typedef {{text: string, detail: string, color: string, isSelected: boolean}} Drawn */

export const PANE_CSS = `
.pane { width: 230px; flex: none; display: flex; flex-direction: column; gap: .5rem; max-height: 80vh; overflow: auto;
  padding: 3px; }
.pane h3 { margin: .25rem 0 0; font-size: .9rem; color: var(--quiet); }
.labels { display: flex; flex-direction: column; gap: 4px; }
.label { display: flex; align-items: center; gap: .55rem; width: 100%; text-align: left; border: 1px solid var(--line);
  background: var(--paper); border-radius: 6px; padding: .35rem .5rem; min-height: 38px; cursor: pointer; }
.label:hover { background: var(--accent-soft); }
.label[aria-checked=true] { border-color: var(--accent); box-shadow: inset 0 0 0 1px var(--accent); font-weight: 600; }
.swatch { width: 16px; height: 16px; border-radius: 4px; flex: none; border: 1px solid rgb(0 0 0 / .35); }
.label .name, .drawn .name { flex: 1; min-width: 0; overflow-wrap: anywhere; }
.drawn { list-style: none; margin: 0; padding: 0; display: flex; flex-direction: column; gap: 2px; }
.drawn li { display: flex; align-items: center; border-radius: 6px; }
.drawn li.selected { background: var(--accent-soft); }
.drawn button { border: 0; background: none; cursor: pointer; padding: .3rem .4rem; min-height: 34px; border-radius: 6px; }
.drawn .pick { flex: 1; min-width: 0; display: flex; align-items: center; gap: .5rem; text-align: left; }
.drawn .pick small { color: var(--quiet); display: block; }
.drawn button:hover { background: var(--accent-soft); }
@media (max-width: 820px) { .pane { width: auto; max-height: none; } .labels { flex-direction: row; flex-wrap: wrap; }
  .label { width: auto; } }
`;

export class LabelsPane {
  /** @type {(index: number) => void} */
  onLabel = () => {};
  /** @type {(index: number) => void} */
  onPick = () => {};
  /** @type {(index: number) => void} */
  onRemove = () => {};

  /** @param {string} title of the list of what is drawn */
  constructor(title) {
    this.title = title;
    this.labels = el("div", { class: "labels", role: "radiogroup", "aria-label": "Labels" });
    this.listTitle = el("h3");
    this.list = el("ul", { class: "drawn" });
    this.element = el("div", { class: "pane" }, el("h3", { text: "Labels" }), this.labels, this.listTitle, this.list);
    this.labels.addEventListener("keydown", (event) => this.#moved(event));
  }

  /** @param {KeyboardEvent} event */
  #moved(event) {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    const buttons = [...this.labels.children];
    const at = buttons.findIndex((button) => button.getAttribute("aria-checked") === "true");
    if (!step || !buttons.length) return;
    event.preventDefault();
    event.stopPropagation();
    this.onLabel((at + step + buttons.length) % buttons.length);
    const next = this.labels.children[(at + step + buttons.length) % buttons.length];
    if (next instanceof HTMLElement) next.focus();
  }

  /** @param {Entry[]} entries @param {number} active */
  showLabels(entries, active) {
    const root = this.labels.getRootNode();
    const hadFocus = root instanceof ShadowRoot && this.labels.contains(root.activeElement);
    const buttons = entries.map(({ name, title, color, count }, index) => {
      const swatch = el("span", { class: "swatch" });
      swatch.style.background = color;
      const button = el("button", { type: "button", role: "radio", class: "label", title }, swatch);
      button.setAttribute("aria-checked", String(index === active));
      button.tabIndex = index === active || (active < 0 && index === 0) ? 0 : -1;
      button.append(el("span", { class: "name", text: name }));
      if (count) button.append(el("small", { text: String(count), "aria-label": `${count} drawn` }));
      if (index < 10) button.append(el("kbd", { text: String((index + 1) % 10), "aria-hidden": "true" }));
      button.addEventListener("click", () => this.onLabel(index));
      return button;
    });
    if (!entries.length) buttons.push(/** @type {any} */ (el("p", { class: "hint", text: "There is no label yet." })));
    this.labels.replaceChildren(...buttons);
    if (hadFocus) buttons[active]?.focus();
  }

  /** @param {Drawn[]} drawn */
  showDrawn(drawn) {
    this.listTitle.textContent = `${this.title} (${drawn.length})`;
    this.list.replaceChildren(...drawn.map((item, index) => this.#row(item, index)));
  }

  /** @param {Drawn} item @param {number} index */
  #row({ text, detail, color, isSelected }, index) {
    const swatch = el("span", { class: "swatch" });
    swatch.style.background = color;
    const words = el("span", { class: "name" }, text, detail && el("small", { text: detail }));
    const pick = el("button", { type: "button", class: "pick", onclick: () => this.onPick(index) }, swatch, words);
    if (isSelected) pick.setAttribute("aria-current", "true");
    const name = `Delete ${text} ${index + 1}`;
    const remove = el("button", { type: "button", "aria-label": name, onclick: () => this.onRemove(index) }, icon("close"));
    return el("li", { class: isSelected ? "selected" : "" }, pick, remove);
  }

  /** @param {number} index */
  focusRow(index) {
    const row = this.list.children[index];
    must(row?.querySelector("button")).focus();
  }
}
