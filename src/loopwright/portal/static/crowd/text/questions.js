/** crowd-question-answer-generation: questions and answers about a text, with the places that they rest on. */
import { isMap } from "../base.js";
import { paletteColor } from "../canvas/palette.js";
import { el, freshId, must } from "../dom.js";
import { icon } from "../icons.js";
import { TaskElement, nameOf } from "../task.js";
import { TEXT_CSS, TextView } from "./view.js";

/** @typedef {{question: string, answer: string, tag: string, references: import("./view.js").Span[]}} Pair */

const CSS = `
.source { flex: 1 1 380px; min-width: 0; } .pairs { flex: 1 1 320px; min-width: min(260px, 100%); display: flex; flex-direction: column; gap: .75rem; }
.pair { border: 1px solid var(--line); border-radius: var(--round); padding: .75rem 1rem; }
.pair.current { border-color: var(--accent); box-shadow: inset 0 0 0 1px var(--accent); }
.pair header { display: flex; justify-content: space-between; align-items: center; } .pair header h3 { margin: 0; }
.pair label { display: block; font-size: .9rem; font-weight: 550; margin-top: .5rem; }
.refs { list-style: none; padding: 0; margin: .4rem 0 0; display: flex; flex-direction: column; gap: 4px; }
.refs li { display: flex; gap: .4rem; align-items: center; background: var(--soft); border-radius: 6px; padding: .15rem .5rem; }
.refs span { flex: 1; min-width: 0; overflow-wrap: anywhere; } .refs button { border: 0; background: none; cursor: pointer; padding: 6px; }
`;

/** @param {string} text */
function words(text) {
  return text.trim() ? text.trim().split(/\s+/u).length : 0;
}

export class CrowdQuestionAnswer extends TaskElement {
  static observedAttributes = [
    ...["text", "header", "min-questions", "max-questions", "question-tags", "allow-custom-question-tags"],
    ...["question-min-words", "question-max-words", "answer-min-words", "answer-max-words"],
  ];
  /** @type {Pair[]} */
  pairs = [];
  current = 0;

  setup() {
    super.setup();
    this.wear(TEXT_CSS);
    this.wear(CSS);
    const view = new TextView("Text. Select a part to refer to it in the current question.");
    this.view = view;
    view.onSelect = () => this.refer();
    view.element.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.refer();
      else if (!view.key(event)) return;
      event.preventDefault();
    });
    const hint = el("p", { class: "hint" }, "Select a part of the text to note it with the current question.");
    hint.append(el("span", { class: "keyboard", text: " By keyboard: Shift and arrows, then Enter." }));
    this.list = el("div", { class: "pairs" });
    this.note = el("p", { class: "error wide", role: "alert", hidden: true });
    must(this.area).append(el("div", { class: "source" }, view.element, hint), this.list, this.note);
    view.setText(this.attr("text"));
    this.reset();
  }

  /** @param {string} name */
  changed(name) {
    if (name === "header") this.titled();
    else if (name === "text") this.view?.setText(this.attr("text"));
    else this.#draw();
  }

  /** @returns {Pair} */
  #empty() {
    return { question: "", answer: "", tag: "", references: [] };
  }

  get least() {
    return Math.max(1, this.number("min-questions", 1));
  }

  refer() {
    const span = this.view?.span;
    const pair = this.pairs[this.current];
    if (!span || !pair) return;
    pair.references.push(span);
    this.view?.select(null);
    this.#draw();
    this.announce();
  }

  #draw() {
    if (!this.list) return;
    const most = this.number("max-questions", Infinity);
    const add = el("button", { type: "button", class: "plain", disabled: this.pairs.length >= most }, icon("add"), "Add a question");
    add.addEventListener("click", () => {
      this.pairs.push(this.#empty());
      this.current = this.pairs.length - 1;
      this.#draw();
      this.#field(this.current)?.focus();
      this.announce();
    });
    this.list.replaceChildren(...this.pairs.map((pair, index) => this.#card(pair, index)), add);
    const marks = this.pairs.flatMap(({ references }, index) =>
      references.map((span) => ({ ...span, color: paletteColor(index), tag: String(index + 1), title: `Question ${index + 1}`, isSelected: false })),
    );
    this.view?.setMarks(marks);
  }

  /** @param {number} index */
  #field(index) {
    return this.list?.querySelectorAll(".pair")[index]?.querySelector("textarea");
  }

  /** @param {Pair} pair @param {number} index */
  #card(pair, index) {
    const title = `Question ${index + 1}`;
    const remove = el("button", { type: "button", class: "plain icon", "aria-label": `Delete question ${index + 1}` }, icon("delete"));
    remove.hidden = this.pairs.length <= this.least;
    remove.addEventListener("click", () => {
      this.pairs.splice(index, 1);
      this.current = Math.max(0, Math.min(this.current, this.pairs.length - 1));
      this.#draw();
      this.announce();
    });
    const card = el("section", { class: index === this.current ? "pair current" : "pair", "aria-label": title });
    card.append(el("header", {}, el("h3", { text: title }), remove));
    for (const field of /** @type {const} */ (["question", "answer"])) {
      const id = freshId(field);
      const area = el("textarea", { class: "field", rows: 2, id });
      area.value = pair[field];
      area.addEventListener("input", () => (pair[field] = area.value));
      area.addEventListener("change", () => this.announce());
      card.append(el("label", { for: id, text: field === "question" ? "Question" : "Answer" }), area);
    }
    this.#addTag(card, pair);
    const rows = pair.references.map((span, at) => this.#reference(pair, span, at));
    if (rows.length) card.append(el("ul", { class: "refs", "aria-label": "References" }, ...rows));
    card.addEventListener("focusin", () => this.#choose(index));
    card.addEventListener("click", () => this.#choose(index));
    return card;
  }

  /** @param {number} index */
  #choose(index) {
    this.current = index;
    [...(this.list?.querySelectorAll(".pair") ?? [])].forEach((card, at) => card.classList.toggle("current", at === index));
  }

  /** @param {HTMLElement} card @param {Pair} pair */
  #addTag(card, pair) {
    const tags = this.items("question-tags").map(nameOf);
    if (!tags.length) return;
    const id = freshId("tag");
    /** @type {HTMLInputElement | HTMLSelectElement} */
    let field;
    if (this.flag("allow-custom-question-tags")) {
      const list = el("datalist", { id: `${id}-list` }, ...tags.map((tag) => el("option", { value: tag })));
      field = el("input", { class: "field", id, list: list.id, placeholder: "Choose or write a tag" });
      card.append(list);
    } else field = el("select", { class: "field", id }, el("option", { value: "" }), ...tags.map((tag) => el("option", { value: tag, text: tag })));
    field.value = pair.tag;
    field.addEventListener("change", () => {
      pair.tag = field.value.trim();
      this.announce();
    });
    card.append(el("label", { for: id, text: "Tag" }), field);
  }

  /** @param {Pair} pair @param {import("./view.js").Span} span @param {number} at */
  #reference(pair, span, at) {
    const text = this.view?.slice(span) ?? "";
    const remove = el("button", { type: "button", "aria-label": `Remove the reference ${text.slice(0, 40)}` }, icon("close"));
    remove.addEventListener("click", () => {
      pair.references.splice(at, 1);
      this.#draw();
      this.announce();
    });
    return el("li", {}, el("span", { text: text.length > 120 ? `${text.slice(0, 120)}…` : text }), remove);
  }

  /** @returns {any} */
  get value() {
    const written = this.pairs.filter(({ question, answer, references }) => question.trim() || answer.trim() || references.length);
    if (!written.length) return undefined;
    return {
      questionAnswerPairs: written.map(({ question, answer, tag, references }) => ({
        question: question.trim(),
        answer: answer.trim(),
        tag,
        references: references.map(({ start, end }) => ({ startOffset: start, endOffset: end })),
      })),
    };
  }

  submittable() {
    return this.value;
  }

  /** @param {unknown} value */
  restore(value) {
    const list = isMap(value) && Array.isArray(value.questionAnswerPairs) ? value.questionAnswerPairs.filter(isMap) : [];
    this.pairs = list.map((item) => ({
      question: String(item.question ?? ""),
      answer: String(item.answer ?? ""),
      tag: String(item.tag ?? ""),
      references: (Array.isArray(item.references) ? item.references : []).filter(isMap).map((span) => ({
        start: Number(span.startOffset),
        end: Number(span.endOffset),
      })),
    }));
    while (this.pairs.length < this.least) this.pairs.push(this.#empty());
    this.current = 0;
    this.#draw();
  }

  reset() {
    this.restore(null);
  }

  focus() {
    this.#field(0)?.focus();
  }

  problem() {
    for (const [index, pair] of this.pairs.entries()) {
      for (const field of /** @type {const} */ (["question", "answer"])) {
        const count = words(pair[field]);
        const [least, most] = [Math.max(1, this.number(`${field}-min-words`, 1)), this.number(`${field}-max-words`, Infinity)];
        if (count < least) return `Question ${index + 1}: the ${field} needs at least ${least} word${least > 1 ? "s" : ""}.`;
        if (count > most) return `Question ${index + 1}: the ${field} may have at most ${most} words.`;
      }
    }
    return "";
  }

  /** @param {string} message */
  complain(message) {
    const note = must(this.note);
    note.textContent = message;
    note.hidden = !message;
  }
}
