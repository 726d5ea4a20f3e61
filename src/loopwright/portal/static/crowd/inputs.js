/** crowd-input and crowd-text-area. */
import { CrowdElement, reflect } from "./base.js";
import { el, freshId, must } from "./dom.js";

const CSS = `
:host { display: block; margin: .5rem 0; max-width: 100%; }
label { display: block; font-weight: 550; margin-bottom: .25rem; }
.required::after { content: " *"; color: var(--bad); }
.below { display: flex; justify-content: space-between; gap: 1rem; }
.counter { margin-left: auto; color: var(--quiet); font-size: .85rem; }
textarea.field { resize: vertical; line-height: 1.45; }
`;
const TYPES = new Set(["text", "email", "number", "url", "tel", "password", "search", "date", "time"]);

class TextControl extends CrowdElement {
  static observedAttributes = [
    ...["label", "placeholder", "value", "required", "disabled", "readonly", "max-length", "min-length"],
    ...["type", "rows", "max-rows", "allowed-pattern", "char-counter", "auto-focus", "invalid", "error-message"],
  ];

  /** @type {HTMLInputElement | HTMLTextAreaElement | null} */
  field = null;
  /** A value that was set, in place of the attribute's. @type {string | null} */
  #early = null;

  /** @returns {HTMLInputElement | HTMLTextAreaElement} */
  make() {
    return el("input", { class: "field" });
  }

  get input() {
    return must(this.field);
  }

  setup() {
    this.wear(CSS);
    const id = freshId("field");
    this.caption = el("label", { for: id });
    this.note = el("p", { class: "error", id: `${id}-error`, role: "alert", hidden: true });
    this.counter = el("span", { class: "counter", "aria-live": "off" });
    this.field = this.make();
    this.field.id = id;
    this.field.setAttribute("aria-describedby", `${id}-error`);
    this.root.append(this.caption, this.field, el("div", { class: "below" }, this.note, this.counter));
    this.field.value = this.#early ?? this.attr("value");
    for (const name of TextControl.observedAttributes) if (name !== "value") this.changed(name);
    this.field.addEventListener("input", () => this.#typed());
    this.field.addEventListener("change", () => this.announce());
    this.field.addEventListener("blur", () => this.flag("auto-validate") && this.complain(this.problem()));
    this.shaped();
    if (this.flag("auto-focus")) queueMicrotask(() => this.focus());
  }

  #typed() {
    if (!must(this.note).hidden) this.complain(this.problem());
    this.shaped();
  }

  /** After each change of the text. */
  shaped() {
    const limit = this.number("max-length", 0);
    const length = this.input.value.length;
    must(this.counter).textContent = this.flag("char-counter") ? (limit ? `${length}/${limit}` : String(length)) : "";
  }

  /** @param {string} name */
  changed(name) {
    const field = this.input;
    if (name === "value") this.value = this.attr("value");
    else if (name === "label" || name === "required") {
      const caption = must(this.caption);
      caption.textContent = this.attr("label");
      caption.hidden = !caption.textContent;
      caption.classList.toggle("required", this.flag("required"));
      field.required = this.flag("required");
      if (caption.hidden) field.setAttribute("aria-label", this.attr("placeholder") || this.attr("name") || "Answer");
      else field.removeAttribute("aria-label");
    } else if (name === "placeholder") field.placeholder = this.attr(name);
    else if (name === "disabled") field.disabled = this.flag(name);
    else if (name === "readonly") field.readOnly = this.flag(name);
    else if (name === "invalid") this.complain(this.flag(name) ? this.attr("error-message") || "Not valid." : "");
    else if (name === "max-length") {
      if (this.number(name, 0) > 0) field.maxLength = this.number(name, 0);
    } else if (name === "rows" && field instanceof HTMLTextAreaElement) field.rows = this.number(name, 3) || 3;
    else if (name === "type" && field instanceof HTMLInputElement) {
      field.type = TYPES.has(this.attr(name)) ? this.attr(name) : "text";
    }
  }

  get value() {
    return this.field ? this.field.value : (this.#early ?? this.attr("value"));
  }

  /** @param {string | null | undefined} value */
  set value(value) {
    const text = value === null || value === undefined ? "" : String(value);
    this.#early = text;
    if (!this.field) return;
    this.field.value = text;
    this.shaped();
  }

  focus() {
    this.field?.focus();
  }

  submittable() {
    return this.value;
  }

  /** @param {unknown} value */
  restore(value) {
    this.value = typeof value === "string" || typeof value === "number" ? String(value) : "";
  }

  reset() {
    this.value = this.attr("value");
    this.complain("");
  }

  problem() {
    const { value } = this.input;
    const label = this.attr("label") || "This field";
    const own = this.attr("error-message");
    if (this.flag("required") && !value.trim()) return own || `${label}: please fill in this field.`;
    if (!value) return "";
    const least = this.number("min-length", 0);
    if (value.length < least) return own || `${label}: at least ${least} characters are needed.`;
    const most = this.number("max-length", 0);
    if (most > 0 && value.length > most) return own || `${label}: at most ${most} characters are allowed.`;
    if (!this.#fits(value)) return own || `${label}: this is not in the form asked for.`;
    return this.input.validity.typeMismatch || this.input.validity.badInput ? own || this.input.validationMessage : "";
  }

  /** @param {string} value */
  #fits(value) {
    const pattern = this.attr("allowed-pattern");
    if (!pattern) return true;
    try {
      const whole = new RegExp(`^(?:${pattern})$`, "u");
      // A pattern like [a-z] says which characters may be typed.
      return whole.test(value) || (/^\[[^\]]*\]$/.test(pattern) && new RegExp(`^${pattern}*$`, "u").test(value));
    } catch {
      return true;
    }
  }

  /** @param {string} message */
  complain(message) {
    const note = must(this.note);
    note.textContent = message;
    note.hidden = !message;
    this.input.setAttribute("aria-invalid", String(Boolean(message)));
  }
}

export class CrowdInput extends TextControl {}

export class CrowdTextArea extends TextControl {
  make() {
    return el("textarea", { class: "field", rows: 3 });
  }

  shaped() {
    super.shaped();
    const most = this.number("max-rows", 0);
    const field = this.input;
    if (most <= 0 || !(field instanceof HTMLTextAreaElement)) return;
    const least = this.number("rows", 1) || 1;
    field.rows = Math.max(least, Math.min(most, field.value.split("\n").length));
  }
}

for (const type of [CrowdInput, CrowdTextArea]) {
  reflect(type, {
    ...{ label: "text", placeholder: "text", type: "text", required: "flag", disabled: "flag", readonly: "flag" },
    ...{ "max-length": "number", "min-length": "number", rows: "number", "max-rows": "number", "char-counter": "flag" },
    ...{ "allowed-pattern": "text", "auto-validate": "flag", "auto-focus": "flag", invalid: "flag" },
    "error-message": "text",
  });
}
