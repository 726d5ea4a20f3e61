// @ts-check
/** The list of tasks: looks again when somebody comes back to it, and every 20 s while it is empty. */

const EVERY_MS = 20_000;

const nothing = document.querySelector("form[action='/work/take'], .held") === null;

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && nothing) location.replace("/work");
});
if (nothing) {
  setInterval(() => {
    if (document.visibilityState === "visible") location.replace("/work");
  }, EVERY_MS);
}
