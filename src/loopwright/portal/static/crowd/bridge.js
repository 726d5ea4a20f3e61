/**
 * Talks with the portal around the frame. Out: ready, draft, submit. In, from the parent only: restore,
 * refused, lock. Without a parent an answer becomes the event `crowd-answer` on the document.
 */
import { el } from "./dom.js";

/** @typedef {import("./base.js").Answer} Answer */
/** @typedef {{collect(): Answer, putBack(answer: Answer): void, refuse(message: string): void}} Form */

const DRAFT_DELAY_MS = 400;
/** @type {() => Form[]} */
let listForms = () => [];
let isLocked = false;
let isQuiet = false;
let draftTimer = 0;

function hasParent() {
  return window.parent !== window;
}

/** @param {string} type @param {Record<string, unknown>} [more] */
function post(type, more = {}) {
  if (hasParent()) window.parent.postMessage({ loopwright: 1, type, ...more }, "*");
}

/** @param {Answer} answer */
export function sendAnswer(answer) {
  if (isLocked) return;
  window.clearTimeout(draftTimer);
  if (hasParent()) post("submit", { answer: plain(answer) });
  else document.dispatchEvent(new CustomEvent("crowd-answer", { detail: plain(answer) }));
}

/** A plain copy that a structured clone can carry, whatever its keys. @param {Answer} answer @returns {Answer} */
function plain(answer) {
  return JSON.parse(JSON.stringify(answer));
}

function sendDraft() {
  if (isLocked) return;
  /** @type {Answer} */
  const answer = {};
  for (const form of listForms()) Object.assign(answer, plain(form.collect()));
  post("draft", { answer });
}

function draftSoon() {
  if (isQuiet || !hasParent()) return;
  window.clearTimeout(draftTimer);
  draftTimer = window.setTimeout(sendDraft, DRAFT_DELAY_MS);
}

function lock() {
  isLocked = true;
  window.clearTimeout(draftTimer);
  document.body.inert = true;
  const note = el("div", { role: "alert", class: "crowd-locked", text: "The time for this task is up." });
  note.style.cssText =
    "position:fixed;inset:0 0 auto 0;z-index:2147483647;padding:.8rem 1rem;background:#7a1b12;color:#fff;" +
    "font:600 16px/1.4 system-ui,sans-serif;text-align:center";
  document.documentElement.append(note);
}

/** @param {MessageEvent} event */
function received(event) {
  const message = event.data;
  if (!hasParent() || event.source !== window.parent || !message || message.loopwright !== 1) return;
  if (message.type === "lock" && !isLocked) lock();
  else if (message.type === "refused") for (const form of listForms()) form.refuse(String(message.message ?? ""));
  else if (message.type === "restore" && message.answer && typeof message.answer === "object") {
    isQuiet = true;
    for (const form of listForms()) form.putBack(message.answer);
    isQuiet = false;
  }
}

/** @param {() => Form[]} forms all forms of the page */
export function openBridge(forms) {
  listForms = forms;
  window.addEventListener("message", received);
  // Composed or not, at any depth: elements announce at themselves, and captures pass the document.
  document.addEventListener("input", draftSoon, true);
  document.addEventListener("change", draftSoon, true);
}

/** A change that no event of the document tells, such as one in a shadow root. */
export function noteChange() {
  draftSoon();
}

export function sayReady() {
  document.dispatchEvent(new Event("all-crowd-elements-ready", { bubbles: true }));
  post("ready");
}
