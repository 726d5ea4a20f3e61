/** crowd-form: the inner native form, the submit button, checks, and one submission. */
import { CrowdElement } from "./base.js";
import { sendAnswer } from "./bridge.js";
import { collect, controls, messageOf, problems, restore } from "./collect.js";
import { el, must } from "./dom.js";

/** @typedef {import("./base.js").Answer} Answer */

const CSS = `
:host { display: block; padding: 1rem; min-width: 0; }
/* What a template floats stays inside the form, and the form's own parts stay beside nothing. */
::slotted(form) { display: flow-root; }
.notice { clear: both; }
.sent { opacity: .6; pointer-events: none; }
@media (max-width: 640px) { :host { padding: .6rem; } }
`;

export const SUBMIT_KEY = "Ctrl+Enter";

/** A control in a tab that is not shown: show it. @param {Element} control */
function showTabOf(control) {
  const tab = control.closest("crowd-tab[hidden]");
  const tabs = tab?.parentElement;
  if (tab && tabs) tabs.setAttribute("selected", String([...tabs.querySelectorAll(":scope > crowd-tab")].indexOf(tab)));
}

export class CrowdForm extends CrowdElement {
  /** The element whose shadow root this form stands in, if it brings its own. @type {CrowdElement | null} */
  owner = null;
  #isSubmitting = false;
  /** @type {HTMLFormElement | null} */
  #form = null;
  /** What the last attempt to send found wrong. @type {ReturnType<typeof problems>} */
  #wrong = [];
  /** @type {((event: KeyboardEvent) => void) | null} */
  #listener = null;

  setup() {
    this.wear(CSS);
    this.alertBox = el("div", { class: "notice", role: "alert", tabindex: "-1", hidden: true });
    this.root.append(this.alertBox, el("slot"));
    this.makeForm();
    this.addEventListener("submit", (event) => this.#intercept(event), { capture: true });
    this.addEventListener("click", (event) => this.#clicked(event));
    this.addEventListener("keydown", (event) => this.#entered(event));
    for (const kind of ["change", "input"]) this.addEventListener(kind, () => this.#lookAgain());
  }

  connected() {
    this.#listener = (event) => this.#sentByKey(event);
    document.addEventListener("keydown", this.#listener, { capture: true });
  }

  disconnected() {
    if (this.#listener) document.removeEventListener("keydown", this.#listener, { capture: true });
  }

  makeForm() {
    const inner = el("form", { novalidate: true, method: "dialog" });
    inner.append(...this.childNodes);
    this.append(inner);
    this.#form = inner;
    // A form inside this one is a part of it: whatever way it is sent, it is this one that is sent.
    for (const nested of inner.querySelectorAll("form")) {
      nested.noValidate = true;
      nested.submit = () => this.submit();
      nested.addEventListener("reset", (event) => event.isTrusted && queueMicrotask(() => this.announce()));
    }
    if (!inner.querySelector('[form-action="submit"]')) {
      const button = document.createElement("crowd-button");
      button.setAttribute("form-action", "submit");
      button.setAttribute("variant", "primary");
      button.style.cssText = "display: block; clear: both; width: fit-content; margin-top: 1rem";
      button.title = `Key: ${SUBMIT_KEY}`;
      button.textContent = "Submit";
      inner.append(button);
    }
  }

  /** @returns {any} The inner native form. */
  get form() {
    return this.#form;
  }

  get isSubmitting() {
    return this.#isSubmitting;
  }

  /** @returns {Element[]} */
  get roots() {
    return this.owner ? [this.owner, ...this.children] : [...this.children];
  }

  /** The answer as it stands. @returns {Answer} */
  collect() {
    return collect(this.roots);
  }

  /** A form is no control of another form. */
  contribute() {}

  takeBack() {}

  /** @param {Answer} answer */
  putBack(answer) {
    restore(this.roots, answer);
  }

  reset() {
    for (const form of [this.#form, ...this.querySelectorAll("form")]) form?.reset();
    for (const control of controls(this.roots)) if (control instanceof CrowdElement) control.reset();
    this.announce();
  }

  /** Checks and sends without asking onsubmit, as a script does that has asked already. */
  submit() {
    if (this.#isSubmitting || !this.#isValid()) return;
    this.#isSubmitting = true;
    this.#mark();
    sendAnswer(this.collect());
  }

  /** Checks, asks onsubmit, and sends. */
  requestSubmit() {
    if (this.#isSubmitting || !this.#isValid()) return;
    // The event goes to the form, bubbles to onsubmit handlers, and never navigates: it is not trusted.
    const event = new Event("submit", { bubbles: true, cancelable: true });
    if (must(this.#form).dispatchEvent(event)) this.submit();
  }

  /** The answer was not taken: show why, and let it be sent again. @param {string} message */
  refuse(message) {
    this.#isSubmitting = false;
    this.#mark();
    this.#say(message || "The answer could not be sent. Please try again.");
  }

  /** @param {string} message */
  #say(message) {
    const box = must(this.alertBox);
    box.textContent = message;
    box.hidden = !message;
    if (message) box.scrollIntoView({ block: "nearest" });
  }

  #mark() {
    this.toggleAttribute("aria-busy", this.#isSubmitting);
    for (const button of this.querySelectorAll('crowd-button[form-action="submit"]')) {
      button.toggleAttribute("loading", this.#isSubmitting);
    }
  }

  /** Takes the notice back, or what it says of answers that were put right. */
  #lookAgain() {
    if (!this.#wrong.length) return;
    const left = this.#wrong.filter(({ control }) => messageOf(control));
    for (const { control } of this.#wrong) {
      if (control instanceof CrowdElement && !messageOf(control)) control.complain("");
    }
    if (left.length < this.#wrong.length) this.#tellOf(left);
  }

  /** @param {ReturnType<typeof problems>} found */
  #tellOf(found) {
    this.#wrong = found;
    const count = found.length === 1 ? "One answer needs" : `${found.length} answers need`;
    this.#say(found.length ? `${count} attention: ${found[0].message}` : "");
  }

  #isValid() {
    const found = problems(this.roots);
    this.#say("");
    this.#tellOf(found);
    if (!found.length) return true;
    const [first] = found;
    showTabOf(first.control);
    if (first.control instanceof CrowdElement) {
      first.control.scrollIntoView({ block: "nearest" });
      first.control.focus();
    } else first.control.reportValidity();
    return false;
  }

  /** @param {Event} event A native submission of the inner form or of one inside it. */
  #intercept(event) {
    if (!event.isTrusted) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    this.requestSubmit();
  }

  /** @param {Event} event */
  #clicked(event) {
    for (const target of event.composedPath()) {
      if (target === this) return;
      if (!(target instanceof CrowdElement) || target.localName !== "crowd-button") continue;
      const action = target.attr("form-action");
      if (event.defaultPrevented || target.flag("disabled") || target.flag("loading")) return;
      if (action === "submit") this.requestSubmit();
      else if (action === "reset") this.reset();
      return;
    }
  }

  /** Ctrl and Return submit from anywhere in the form, or in a page that has no other. @param {KeyboardEvent} event */
  #sentByKey(event) {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.isComposing || event.defaultPrevented) return;
    const path = event.composedPath();
    if (path.some((target) => target instanceof HTMLDialogElement)) return;
    const isAlone = document.querySelectorAll("crowd-form").length + (this.owner ? 1 : 0) <= 1;
    if (!path.includes(this) && !isAlone) return;
    event.preventDefault();
    event.stopPropagation();
    this.requestSubmit();
  }

  /** Return in a one-line field submits, as in a native form. @param {KeyboardEvent} event */
  #entered(event) {
    if (event.key !== "Enter" || event.ctrlKey || event.metaKey || event.defaultPrevented || event.isComposing) return;
    const [inner] = event.composedPath();
    const line = inner instanceof HTMLInputElement && ["text", "email", "number", "url", "tel"].includes(inner.type);
    if (line && event.target instanceof CrowdElement && event.target.localName === "crowd-input") {
      event.preventDefault();
      this.requestSubmit();
    }
  }
}
