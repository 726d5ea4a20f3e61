/** crowd-checkbox, crowd-radio-button, crowd-radio-group, crowd-toggle-button. */
import { CrowdElement, isMap, reflect } from "./base.js";
import { shareFlag } from "./collect.js";
import { el, must } from "./dom.js";

const CSS = `
:host { display: block; margin: .25rem 0; width: fit-content; max-width: 100%; }
label { display: flex; gap: .6rem; align-items: flex-start; padding: .3rem .35rem; border-radius: 6px; cursor: pointer; }
label:hover { background: var(--accent-soft); }
input { width: 1.25rem; height: 1.25rem; margin: .12rem 0 0; flex: none; accent-color: var(--accent); cursor: inherit; }
:host([disabled]:not([disabled=false])) label { color: var(--off); cursor: default; background: none; }
.switch { appearance: none; width: 2.6rem; height: 1.4rem; border-radius: 1rem; background: light-dark(#66727f, #8f9baa); position: relative;
  transition: background .15s; }
.switch::after { content: ""; position: absolute; width: 1.1rem; height: 1.1rem; border-radius: 50%; background: light-dark(#fff, #12171d);
  top: .15rem; left: .15rem; transition: left .15s; }
.switch:checked { background: var(--accent); }
.switch:checked::after { left: 1.35rem; }
.switch:disabled { opacity: .5; }
`;

class Choice extends CrowdElement {
  static observedAttributes = ["checked", "disabled", "required", "invalid"];
  /** @type {HTMLInputElement | null} */
  box = null;
  #early = false;
  /** @type {(event: Event) => void} */
  #labelled = () => {};

  /** @returns {HTMLInputElement} */
  make() {
    return el("input", { type: "checkbox" });
  }

  setup() {
    this.wear(CSS);
    this.box = this.make();
    this.note = el("p", { class: "error", role: "alert", hidden: true });
    this.root.append(el("label", {}, this.box, el("span", {}, el("slot"))), this.note);
    this.box.checked = this.#early || this.flag("checked");
    this.box.disabled = this.flag("disabled");
    this.box.required = this.flag("required");
    if (!this.textContent?.trim()) this.box.setAttribute("aria-label", this.attr("label") || this.attr("name") || "Choice");
    this.box.addEventListener("change", () => this.chosen());
  }

  connected() {
    // <label for> of the page points at the host.
    this.#labelled = (event) => {
      const label = event.target instanceof Element ? event.target.closest("label") : null;
      if (label && this.id && label.htmlFor === this.id && !this.contains(label)) this.box?.click();
    };
    document.addEventListener("click", this.#labelled);
  }

  disconnected() {
    document.removeEventListener("click", this.#labelled);
  }

  chosen() {
    this.complain("");
    this.announce();
  }

  /** @param {string} name */
  changed(name) {
    const box = must(this.box);
    if (name === "checked") this.checked = this.flag(name);
    else if (name === "disabled") box.disabled = this.flag(name);
    else if (name === "required") box.required = this.flag(name);
    else this.complain(this.flag("invalid") ? "Not valid." : "");
  }

  get checked() {
    return this.box ? this.box.checked : this.#early || this.flag("checked");
  }

  set checked(on) {
    this.#early = Boolean(on);
    if (this.box) this.box.checked = this.#early;
  }

  get value() {
    return this.getAttribute("value") || "on";
  }

  set value(value) {
    this.setAttribute("value", String(value));
  }

  focus() {
    this.box?.focus();
  }

  click() {
    this.box?.click();
  }

  submittable() {
    return { [this.value]: this.checked };
  }

  /** @param {import("./base.js").Answer} answer */
  contribute(answer) {
    if (this.name && !this.flag("disabled")) shareFlag(answer, this.name, this.value, this.checked);
  }

  /** @param {unknown} value */
  restore(value) {
    if (isMap(value) && this.value in value) this.checked = value[this.value] === true;
  }

  reset() {
    this.checked = this.flag("checked");
    this.complain("");
  }

  /** @returns {string} */
  problem() {
    return this.flag("required") && !this.checked ? "Please tick this box." : "";
  }

  /** @param {string} message */
  complain(message) {
    const note = must(this.note);
    note.textContent = message;
    note.hidden = !message;
    must(this.box).setAttribute("aria-invalid", String(Boolean(message)));
  }
}

export class CrowdCheckbox extends Choice {}

export class CrowdToggleButton extends Choice {
  make() {
    return el("input", { type: "checkbox", role: "switch", class: "switch" });
  }

  problem() {
    return this.flag("required") && !this.checked ? "Please switch this on." : "";
  }
}

export class CrowdRadioButton extends Choice {
  make() {
    return el("input", { type: "radio" });
  }

  get group() {
    return this.closest("crowd-radio-group");
  }

  get siblings() {
    return this.group instanceof CrowdRadioGroup ? this.group.buttons : [];
  }

  setup() {
    super.setup();
    must(this.box).addEventListener("keydown", (event) => this.#moved(event));
  }

  connected() {
    super.connected();
    if (this.group instanceof CrowdRadioGroup) this.group.arrange();
  }

  chosen() {
    for (const other of this.siblings) if (other !== this) other.checked = false;
    super.chosen();
    if (this.group instanceof CrowdRadioGroup) this.group.arrange();
  }

  /** Arrow keys go through the group. @param {KeyboardEvent} event */
  #moved(event) {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    const open = this.siblings.filter((button) => !button.flag("disabled"));
    if (!step || open.length < 2) return;
    event.preventDefault();
    const next = open[(open.indexOf(this) + step + open.length) % open.length];
    next.focus();
    next.click();
  }

  problem() {
    if (!this.flag("required")) return "";
    const group = this.siblings.length ? this.siblings : [this];
    return group.some((button) => button.checked) ? "" : "Please choose one.";
  }
}

export class CrowdRadioGroup extends CrowdElement {
  static observedAttributes = ["disabled", "allow-empty-selection", "label"];

  setup() {
    this.wear(":host { display: block; margin: .5rem 0; }");
    this.root.append(el("slot"));
    this.setAttribute("role", "radiogroup");
    if (this.attr("label")) this.setAttribute("aria-label", this.attr("label"));
  }

  connected() {
    this.arrange();
  }

  /** @returns {CrowdRadioButton[]} */
  get buttons() {
    return [...this.querySelectorAll("crowd-radio-button")].filter((item) => item instanceof CrowdRadioButton);
  }

  /** One button of the group is in the order of the tabulator. */
  arrange() {
    const { buttons } = this;
    const stop = buttons.find((button) => button.checked) ?? buttons.find((button) => !button.flag("disabled"));
    for (const button of buttons) if (button.box) button.box.tabIndex = button === stop ? 0 : -1;
  }

  get selected() {
    return this.buttons.find((button) => button.checked)?.value ?? "";
  }

  set selected(value) {
    for (const button of this.buttons) button.checked = button.value === value;
    this.arrange();
  }

  /** Its buttons answer, each under its own name. */
  contribute() {}

  problem() {
    return this.flag("required") && !this.selected ? "Please choose one." : "";
  }
}

for (const type of [CrowdCheckbox, CrowdToggleButton, CrowdRadioButton]) {
  reflect(type, { disabled: "flag", required: "flag", invalid: "flag" });
}
