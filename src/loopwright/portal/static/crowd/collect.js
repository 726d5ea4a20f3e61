/** Turns the controls below a root into an answer and back, and tells what is wrong with them. */
import { CrowdElement, isMap } from "./base.js";

/** @typedef {import("./base.js").Answer} Answer */
/** @typedef {HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement} Native */

/** @param {Element} element @returns {element is Native} */
function isNative(element) {
  return (
    element instanceof HTMLInputElement ||
    element instanceof HTMLSelectElement ||
    element instanceof HTMLTextAreaElement
  );
}

/** @param {Element} element @returns {element is HTMLInputElement} */
function isChoice(element) {
  return element instanceof HTMLInputElement && (element.type === "checkbox" || element.type === "radio");
}

const SILENT = new Set(["button", "submit", "reset", "image", "file"]);

/**
 * All controls in the order of the page: crowd elements and native ones.
 * @param {Element[]} roots
 * @returns {(CrowdElement | Native)[]}
 */
export function controls(roots) {
  /** @type {(CrowdElement | Native)[]} */
  const found = [];
  for (const root of roots) {
    for (const element of [root, ...root.querySelectorAll("*")]) {
      if (element instanceof CrowdElement || isNative(element)) found.push(element);
    }
  }
  return found;
}

/** An object whose keys may be any words. @returns {Answer} */
export function emptyAnswer() {
  return Object.create(null);
}

/**
 * Sets one flag in the object that controls of the same name share.
 * @param {Answer} answer @param {string} name @param {string} key @param {boolean} flag
 */
export function shareFlag(answer, name, key, flag) {
  const before = answer[name];
  const shared = isMap(before) ? before : emptyAnswer();
  shared[key] = flag;
  answer[name] = shared;
}

/** @param {Native} control @param {Answer} answer */
function contributeNative(control, answer) {
  if (!control.name || control.matches(":disabled") || SILENT.has(control.type)) return;
  if (isChoice(control)) shareFlag(answer, control.name, control.value, control.checked);
  else if (control instanceof HTMLSelectElement && control.multiple) {
    const chosen = [...control.selectedOptions].map((option) => option.value);
    if (chosen.length) answer[control.name] = chosen;
  } else if (control.value !== "") answer[control.name] = control.value;
}

/** @param {Element[]} roots @returns {Answer} */
export function collect(roots) {
  const answer = emptyAnswer();
  for (const control of controls(roots)) {
    if (control instanceof CrowdElement) control.contribute(answer);
    else contributeNative(control, answer);
  }
  return answer;
}

/** @param {Native} control @param {Answer} answer */
function restoreNative(control, answer) {
  if (!control.name || SILENT.has(control.type)) return;
  const value = answer[control.name];
  if (isChoice(control)) {
    if (isMap(value) && control.value in value) control.checked = value[control.value] === true;
  } else if (control instanceof HTMLSelectElement && control.multiple) {
    const chosen = Array.isArray(value) ? value : [];
    for (const option of control.options) option.selected = chosen.includes(option.value);
  } else if (typeof value === "string") control.value = value;
  else if (value === undefined && control.type !== "hidden") control.value = "";
}

/** @param {Element[]} roots @param {Answer} answer */
export function restore(roots, answer) {
  for (const control of controls(roots)) {
    if (control instanceof CrowdElement) control.takeBack(answer);
    else {
      restoreNative(control, answer);
      // Scripts of the template follow a choice: let them follow this one too.
      control.dispatchEvent(new Event("change", { bubbles: true }));
    }
  }
}

/** What is wrong with a control now, in plain words; "" for nothing. @param {CrowdElement | Native} control */
export function messageOf(control) {
  if (control instanceof CrowdElement) return control.flag("disabled") ? "" : control.problem();
  return control.willValidate && !control.validity.valid ? control.validationMessage || "Not valid." : "";
}

/**
 * The controls with a problem, each told to show it.
 * @param {Element[]} roots
 * @returns {{control: CrowdElement | Native, message: string}[]}
 */
export function problems(roots) {
  /** @type {{control: CrowdElement | Native, message: string}[]} */
  const found = [];
  for (const control of controls(roots)) {
    const message = messageOf(control);
    if (control instanceof CrowdElement) control.complain(message);
    if (message) found.push({ control, message });
  }
  return found;
}
