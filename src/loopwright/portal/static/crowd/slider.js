/** crowd-slider and its labels. No value is made up: until it is set or moved, there is no answer. */
import { CrowdElement, reflect } from "./base.js";
import { clamp, el, must } from "./dom.js";

const CSS = `
:host { display: block; margin: .75rem 0; max-width: 520px; }
.row { display: flex; align-items: center; gap: .75rem; }
input[type=range] { width: 100%; min-width: 0; height: 2rem; accent-color: var(--accent); cursor: pointer; margin: 0; }
input[type=range].unset { opacity: .55; }
output { min-width: 3.2rem; text-align: center; font-weight: 600; border-radius: 6px; background: var(--soft);
  padding: .15rem .5rem; font-variant-numeric: tabular-nums; }
output.unset { color: var(--quiet); font-weight: 400; }
input[type=number] { width: 5.5rem; }
.track { flex: 1; min-width: 0; display: flex; flex-direction: column; }
.labels { display: grid; }
::slotted(crowd-slider-label) { grid-area: 1 / 1; justify-self: start; }
`;

export class CrowdSlider extends CrowdElement {
  static observedAttributes = ["min", "max", "step", "value", "disabled", "pin", "editable", "label", "name"];
  /** @type {number | null} */
  #value = null;
  #isEarly = false;
  /** @type {HTMLInputElement | null} */
  range = null;

  setup() {
    this.wear(CSS);
    this.range = el("input", { type: "range" });
    this.shown = el("output");
    this.typed = el("input", { type: "number", class: "field", "aria-label": "Value" });
    this.note = el("p", { class: "error", role: "alert", hidden: true });
    const track = el("div", { class: "track" }, this.range, el("div", { class: "labels" }, el("slot")));
    this.root.append(el("div", { class: "row" }, track, this.shown, this.typed), this.note);
    if (!this.#isEarly && this.hasAttribute("value")) this.#value = this.number("value", this.low);
    const { range, typed } = this;
    range.addEventListener("input", () => this.#take(Number(range.value)));
    range.addEventListener("change", () => this.announce());
    // A click on the handle, or Return, takes the value that is shown.
    range.addEventListener("pointerup", () => this.#value === null && this.#settle());
    range.addEventListener("keydown", (event) => {
      if ((event.key === "Enter" || event.key === " ") && this.#value === null) {
        event.preventDefault();
        this.#settle();
      }
    });
    typed.addEventListener("change", () => {
      if (typed.value !== "") this.#take(clamp(Number(typed.value), this.low, this.high));
      this.announce();
    });
    this.#draw();
  }

  #settle() {
    this.#take(Number(must(this.range).value));
    this.announce();
  }

  get low() {
    return this.number("min", 0);
  }

  get high() {
    return Math.max(this.number("max", 100), this.low);
  }

  /** @param {number} value */
  #take(value) {
    this.#value = value;
    this.complain("");
    this.#draw();
  }

  #draw() {
    const { range, shown, typed } = this;
    if (!range || !shown || !typed) return;
    const isUnset = this.#value === null;
    for (const input of [range, typed]) {
      input.min = String(this.low);
      input.max = String(this.high);
      input.step = String(this.number("step", 1) || 1);
      input.disabled = this.flag("disabled");
    }
    range.value = String(this.#value ?? this.low);
    range.classList.toggle("unset", isUnset);
    range.setAttribute("aria-label", this.attr("label") || this.attr("name") || "Value");
    range.setAttribute("aria-valuetext", isUnset ? "not set" : String(this.#value));
    shown.textContent = isUnset ? "not set" : String(this.#value);
    shown.classList.toggle("unset", isUnset);
    shown.hidden = this.flag("editable");
    typed.hidden = !this.flag("editable");
    typed.value = isUnset ? "" : String(this.#value);
    for (const label of this.querySelectorAll("crowd-slider-label")) {
      if (label instanceof CrowdSliderLabel) label.place();
    }
  }

  /** @param {string} name */
  changed(name) {
    if (name === "value") this.value = this.hasAttribute("value") ? this.number("value", this.low) : null;
    else this.#draw();
  }

  /** @returns {number | null} */
  get value() {
    if (this.range || this.#isEarly) return this.#value;
    return this.hasAttribute("value") ? this.number("value", this.low) : null;
  }

  /** @param {number | string | null} value */
  set value(value) {
    this.#isEarly = true;
    const given = value === null || value === undefined || value === "" ? NaN : Number(value);
    this.#value = Number.isFinite(given) ? clamp(given, this.low, this.high) : null;
    this.#draw();
  }

  focus() {
    this.range?.focus();
  }

  submittable() {
    return this.value ?? undefined;
  }

  /** @param {unknown} value */
  restore(value) {
    this.value = typeof value === "number" ? value : null;
  }

  reset() {
    this.changed("value");
  }

  problem() {
    if (!this.flag("required") || this.value !== null) return "";
    return `${this.attr("label") || this.attr("name") || "Slider"}: please set a value.`;
  }

  /** @param {string} message */
  complain(message) {
    const note = must(this.note);
    note.textContent = message;
    note.hidden = !message;
    must(this.range).setAttribute("aria-invalid", String(Boolean(message)));
  }
}

/** A word below the slider, at the value named by `position`. */
export class CrowdSliderLabel extends CrowdElement {
  static observedAttributes = ["position"];

  setup() {
    this.wear(":host { display: block; font-size: .85rem; color: var(--quiet); width: fit-content; max-width: 40%; }");
    this.root.append(el("slot"));
  }

  connected() {
    this.place();
  }

  changed() {
    this.place();
  }

  place() {
    const slider = this.parentElement;
    if (!(slider instanceof CrowdSlider) || !this.hasAttribute("position")) return;
    const share = (this.number("position", slider.low) - slider.low) / (slider.high - slider.low || 1);
    this.style.marginLeft = `${clamp(share, 0, 1) * 100}%`;
    this.style.translate = `-${Math.round(clamp(share, 0, 1) * 100)}% 0`;
  }
}

reflect(CrowdSlider, {
  ...{ min: "number", max: "number", step: "number", disabled: "flag", pin: "flag", editable: "flag", label: "text" },
  required: "flag",
});
reflect(CrowdSliderLabel, { position: "number" });
