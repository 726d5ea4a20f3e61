/** crowd-classifier and crowd-image-classifier, each also with several choices. */
import { isMap, reflect } from "./base.js";
import { OverlayLayer } from "./canvas/overlay.js";
import { VIEW_CSS, View } from "./canvas/view.js";
import { el, freshId, must } from "./dom.js";
import { icon } from "./icons.js";
import { TaskElement, digitOf, nameOf, shortcuts } from "./task.js";

const CSS = `
.target { flex: 1 1 320px; min-width: 0; overflow-wrap: anywhere; }
.target.bare { border: 1px solid var(--line); border-radius: var(--round); padding: 1rem 1.25rem; }
.category-picker-wrapper { flex: 0 1 300px; min-width: min(240px, 100%); }
fieldset { border: 0; margin: 0; padding: 0; display: flex; flex-direction: column; gap: 6px; min-width: 0; }
legend { font-weight: 600; padding: 0; margin-bottom: .5rem; }
.choice { display: flex; gap: .6rem; align-items: center; padding: .55rem .75rem; border: 1px solid var(--line);
  border-radius: var(--round); cursor: pointer; background: var(--paper); min-height: 44px; }
.choice:hover { background: var(--accent-soft); }
.choice:has(input:checked) { border-color: var(--accent); box-shadow: inset 0 0 0 1px var(--accent); background: var(--accent-soft); }
.choice:has(input:focus-visible) { outline: 3px solid var(--accent); outline-offset: 2px; }
.choice input { width: 1.2rem; height: 1.2rem; margin: 0; accent-color: var(--accent); flex: none; outline: none; }
.choice span { flex: 1; min-width: 0; overflow-wrap: anywhere; }
.excluding { border-style: dashed; margin-top: .35rem; }
.comment { margin-top: 1rem; } .comment label { font-weight: 600; display: block; margin-bottom: .25rem; }
.zoombar { display: flex; gap: 4px; align-items: center; margin-bottom: .5rem; }
@media (max-width: 820px) { .category-picker-wrapper { flex-basis: 100%; } .choice kbd { display: none; } }
`;

class Classifier extends TaskElement {
  static observedAttributes = ["categories", "exclusion-category", "header", "initial-value", "src", "overlay"];
  isMulti = false;
  hasPicture = false;
  /** @type {Set<string>} */
  chosen = new Set();
  /** @type {(() => void) | null} */
  #unlisten = null;
  #wasSet = false;
  #comment = "";

  setup() {
    super.setup();
    this.wear(CSS);
    this.target = el("div", { class: this.hasPicture ? "target" : "target bare" });
    if (this.hasPicture) this.#setUpPicture();
    this.target.append(el("slot", { name: "classification-target" }), el("slot"));
    this.group = freshId("categories");
    this.fields = el("fieldset");
    this.note = el("p", { class: "error", role: "alert", id: `${this.group}-note`, hidden: true });
    this.fields.setAttribute("aria-describedby", this.note.id);
    this.remark = el("div", { class: "comment", hidden: true });
    const picker = el("div", { class: "category-picker-wrapper" }, this.fields, this.note, this.remark);
    must(this.area).append(this.target, picker);
    this.#setUpComment();
    if (!this.#wasSet) this.#begin();
    this.#draw();
  }

  #setUpPicture() {
    this.wear(VIEW_CSS);
    const view = new View(this.attr("header") || "Picture to classify");
    this.view = view;
    view.upper.setAttribute("role", "img");
    this.layer = new OverlayLayer(view);
    /** @param {string} face @param {string} name @param {() => void} act */
    const tool = (face, name, act) =>
      el("button", { type: "button", class: "plain icon", "aria-label": name, title: name, onclick: act }, icon(face));
    const bar = el("div", { class: "zoombar" });
    bar.append(tool("zoom-out", "Zoom out", () => view.zoomBy(0.8)), tool("zoom-in", "Zoom in", () => view.zoomBy(1.25)));
    bar.append(tool("fit", "Fit the picture", () => view.fit()));
    view.setPanTool(true);
    view.upper.addEventListener("keydown", (event) => {
      if (event.key === "+" || event.key === "=") view.zoomBy(1.25);
      else if (event.key === "-") view.zoomBy(0.8);
      else if (event.key.toLowerCase() === "f") view.fit();
    });
    must(this.target).append(bar, view.frame);
    view.load(this.address("src", "picture"));
    this.layer.show(this.data("overlay"));
  }

  #setUpComment() {
    const region = this.region("worker-comment");
    if (!region) return;
    const id = freshId("comment");
    const header = region.getAttribute("header") || region.getAttribute("link-text") || "Comment";
    this.commentField = el("textarea", { class: "field", rows: 3, id, placeholder: region.getAttribute("placeholder") });
    this.commentField.addEventListener("input", () => (this.#comment = must(this.commentField).value));
    this.commentField.addEventListener("change", () => this.announce());
    const box = must(this.remark);
    box.append(el("label", { for: id, text: header }), el("slot", { name: "worker-comment" }), this.commentField);
    box.hidden = false;
  }

  #begin() {
    const initial = this.attr("initial-value").trim();
    const given = /^[[{"']/.test(initial) ? this.data("initial-value") : initial;
    const list = isMap(given) ? this.#labelsOf(given) : Array.isArray(given) ? given : given ? [given] : [];
    this.chosen = new Set(list.map(nameOf));
  }

  connected() {
    this.view?.start();
    this.#unlisten = shortcuts(this, (event) => {
      const option = this.options[digitOf(event)];
      if (!option) return false;
      this.choose(option, this.isMulti ? !this.chosen.has(option) : true);
      this.#inputOf(option)?.focus();
      return true;
    });
  }

  disconnected() {
    this.view?.stop();
    this.#unlisten?.();
  }

  /** @param {string} name */
  changed(name) {
    if (name === "header") this.titled();
    else if (name === "src") this.view?.load(this.address("src", "picture"));
    else if (name === "overlay") this.layer?.show(this.data("overlay"));
    else {
      if (name === "initial-value") this.#begin();
      this.#draw();
    }
  }

  /** @returns {any[]} */
  get categories() {
    return [...this.items("categories")];
  }

  set categories(categories) {
    this.write("categories", categories);
  }

  get exclusion() {
    const text = this.attr("exclusion-category").trim();
    if (!text) return "";
    return text.startsWith("{") ? nameOf(this.data("exclusion-category") ?? "") : text;
  }

  /** All that can be chosen, in order. */
  get options() {
    const names = this.items("categories").map(nameOf);
    return this.exclusion && !names.includes(this.exclusion) ? [...names, this.exclusion] : names;
  }

  /** @param {string} option */
  #inputOf(option) {
    const inputs = [...must(this.fields).querySelectorAll("input")];
    return inputs.find((input) => input.value === option);
  }

  #draw() {
    if (!this.fields || !this.area) return;
    if (this.hasAttribute("categories")) {
      const text = JSON.stringify(this.items("categories"));
      if (this.getAttribute("categories") !== text) this.setAttribute("categories", text);
    }
    const { options, exclusion } = this;
    for (const option of this.chosen) if (!options.includes(option)) this.chosen.delete(option);
    const legend = el("legend", { text: this.isMulti ? "Choose all that apply" : "Choose one" });
    this.fields.replaceChildren(legend, ...options.map((option, index) => this.#choice(option, index, option === exclusion)));
  }

  /** @param {string} option @param {number} index @param {boolean} isExcluding */
  #choice(option, index, isExcluding) {
    const input = el("input", { type: this.isMulti ? "checkbox" : "radio", name: this.group, value: option });
    input.checked = this.chosen.has(option);
    input.addEventListener("change", (event) => {
      event.stopPropagation();
      this.choose(option, input.checked);
    });
    const key = index < 10 && el("kbd", { text: String((index + 1) % 10), "aria-hidden": "true" });
    return el("label", { class: isExcluding ? "choice excluding" : "choice" }, input, el("span", { text: option }), key);
  }

  /** @param {string} option @param {boolean} isOn */
  choose(option, isOn) {
    const { exclusion } = this;
    if (!this.isMulti || (isOn && option === exclusion)) this.chosen.clear();
    else if (isOn) this.chosen.delete(exclusion);
    if (isOn) this.chosen.add(option);
    else this.chosen.delete(option);
    this.#mark();
    this.complain("");
    this.announce();
  }

  #mark() {
    for (const input of this.fields?.querySelectorAll("input") ?? []) input.checked = this.chosen.has(input.value);
  }

  /** The chosen category; with several choices the answer. @returns {any} */
  get value() {
    if (this.isMulti) return this.submittable() ?? { labels: [] };
    return [...this.chosen][0] ?? "";
  }

  /** @param {any} value */
  set value(value) {
    this.#wasSet = true;
    const list = isMap(value) ? this.#labelsOf(value) : Array.isArray(value) ? value : [value];
    this.chosen = new Set(list.filter((item) => item !== null && item !== undefined && item !== "").map(nameOf));
    this.#mark();
  }

  /** @param {Record<string, any>} answer @returns {unknown[]} */
  #labelsOf(answer) {
    if (Array.isArray(answer.labels)) return answer.labels.length || !this.exclusion ? answer.labels : [this.exclusion];
    return answer.label === undefined ? [] : [answer.label];
  }

  submittable() {
    const comment = this.#comment.trim() ? { comment: this.#comment.trim() } : {};
    if (this.isMulti) {
      if (!this.chosen.size && this.exclusion) return undefined;
      const labels = this.options.filter((option) => this.chosen.has(option) && option !== this.exclusion);
      return { labels, ...comment };
    }
    const [label] = this.chosen;
    return label === undefined ? undefined : { label, ...comment };
  }

  /** @param {unknown} value */
  restore(value) {
    this.value = isMap(value) ? value : null;
    this.#comment = isMap(value) && typeof value.comment === "string" ? value.comment : "";
    if (this.commentField) this.commentField.value = this.#comment;
  }

  reset() {
    this.#begin();
    this.#comment = "";
    if (this.commentField) this.commentField.value = "";
    this.#mark();
  }

  focus() {
    const inputs = [...must(this.fields).querySelectorAll("input")];
    (inputs.find((input) => input.checked) ?? inputs[0])?.focus();
  }

  problem() {
    if (this.chosen.size || (this.isMulti && !this.exclusion) || !this.options.length) return "";
    return this.isMulti ? "Please choose at least one category." : "Please choose a category.";
  }

  /** @param {string} message */
  complain(message) {
    const note = must(this.note);
    note.textContent = message;
    note.hidden = !message;
  }
}

export class CrowdClassifier extends Classifier {}

export class CrowdClassifierMultiSelect extends Classifier {
  isMulti = true;
}

export class CrowdImageClassifier extends Classifier {
  hasPicture = true;
}

export class CrowdImageClassifierMultiSelect extends Classifier {
  isMulti = true;
  hasPicture = true;
}

for (const type of [CrowdClassifier, CrowdClassifierMultiSelect, CrowdImageClassifier, CrowdImageClassifierMultiSelect]) {
  reflect(type, { header: "text", src: "text" });
}
