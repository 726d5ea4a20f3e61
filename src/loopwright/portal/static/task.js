// @ts-check
/**
 * One task: speaks with its page in the sandboxed frame, keeps drafts, sends the answer.
 *
 * An answer is kept in this browser before it is sent, and sent again until the server says that
 * it has it, so neither a lost network, nor a reload, nor a restart of the server loses it. The
 * server keeps the first answer of a worker and takes the same one again for what it is.
 */

const frame = /** @type {HTMLIFrameElement} */ (document.getElementById("page"));
const state = /** @type {HTMLElement} */ (document.getElementById("state"));
const left = /** @type {HTMLElement} */ (document.getElementById("left"));
const task = frame.dataset.task ?? "";
const csrf = frame.dataset.csrf ?? "";
const end = performance.now() + Number(frame.dataset.left) * 1000;
const DRAFT = `draft:${task}`;
const PENDING = `pending:${task}`;
const RELOADED = `reloaded:${task}`;
const WAIT_MS_MAX = 15_000;
const SOON_S = 60;
let sending = false;

/** @param {string} text @param {boolean} [bad] */
function say(text, bad = false) {
  state.hidden = text === "";
  state.textContent = text;
  state.classList.toggle("bad", bad);
}

/** @param {Record<string, unknown>} message */
function tell(message) {
  frame.contentWindow?.postMessage({ loopwright: 1, ...message }, "*");
}

/** @param {string} name @param {unknown} value */
function keep(name, value) {
  try {
    localStorage.setItem(name, JSON.stringify(value));
  } catch {
    // The browser keeps nothing more, such as in a private window: the answer is still in the page.
    say("This browser cannot keep a draft; do not close the page before you submit.", true);
  }
}

/** @param {string} name @returns {unknown} */
function kept(name) {
  try {
    return JSON.parse(localStorage.getItem(name) ?? "null");
  } catch {
    return null;
  }
}

function forget() {
  localStorage.removeItem(DRAFT);
  localStorage.removeItem(PENDING);
}

/** @param {unknown} answer */
async function submit(answer) {
  if (sending) return;
  sending = true;
  keep(PENDING, answer);
  say("Sending…");
  for (let wait = 500; ; wait = Math.min(wait * 2, WAIT_MS_MAX)) {
    const answered = await attempt(answer);
    if (answered) return;
    say("The server does not answer. Your answer is kept here and is sent again.", true);
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

/**
 * Send the answer once.
 * @param {unknown} answer
 * @returns {Promise<boolean>} whether there is nothing more to try
 */
async function attempt(answer) {
  let response;
  /** @type {any} */
  let said = {};
  try {
    response = await fetch(`/work/tasks/${task}/answer`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRF": csrf },
      body: JSON.stringify({ answer }),
    });
    if ((response.headers.get("content-type") ?? "").includes("json")) said = await response.json();
  } catch {
    return false;
  }
  if (response.ok) {
    forget();
    sessionStorage.removeItem(RELOADED);
    // In place of this page: the way back is to the list, not to what was answered.
    location.replace(said.next);
    return true;
  }
  if (response.status >= 500 || response.status === 429) return false;
  if (response.status === 401) {
    say("You are signed out. Your answer is kept: sign in, and it is sent by itself.", true);
    location.assign(`/work/sign-in?next=${encodeURIComponent(location.pathname)}`);
    return true;
  }
  if (response.status === 403 && sessionStorage.getItem(RELOADED) === null) {
    // Somebody signed in anew in another tab: this page, loaded again, has the new session's token,
    // and sends the answer that is kept.
    sessionStorage.setItem(RELOADED, "1");
    location.reload();
    return true;
  }
  sending = false;
  sessionStorage.removeItem(RELOADED);
  localStorage.removeItem(PENDING);
  const reason = said.error ?? `The server refused the answer (${response.status}).`;
  say(reason, true);
  tell({ type: "refused", message: reason });
  return true;
}

window.addEventListener("message", (event) => {
  if (event.source !== frame.contentWindow || event.data?.loopwright !== 1) return;
  const { type, answer } = event.data;
  if (type === "ready") {
    const draft = kept(PENDING) ?? kept(DRAFT);
    if (draft !== null) tell({ type: "restore", answer: draft });
  } else if (type === "draft" && !sending) {
    keep(DRAFT, answer);
  } else if (type === "submit") {
    void submit(answer);
  }
});

function tick() {
  const seconds = Math.max(0, Math.ceil((end - performance.now()) / 1000));
  const hours = Math.floor(seconds / 3600);
  const rest = `${String(Math.floor((seconds % 3600) / 60)).padStart(hours ? 2 : 1, "0")}:${String(seconds % 60).padStart(2, "0")}`;
  left.textContent = `${hours ? `${hours}:` : ""}${rest} left`;
  left.parentElement?.classList.toggle("soon", seconds <= SOON_S);
  if (seconds > 0) {
    setTimeout(tick, 500);
  } else if (!sending) {
    left.textContent = "Time is up";
    say("The time for this task is up. You can still submit, as long as nobody else took it.", true);
  }
}

window.addEventListener("pageshow", (event) => {
  // From the browser's memory, as by "back": the server knows what has become of the task.
  if (event.persisted) location.reload();
});

tick();
const pending = kept(PENDING);
if (pending !== null) void submit(pending);
frame.addEventListener("load", () => frame.focus());
