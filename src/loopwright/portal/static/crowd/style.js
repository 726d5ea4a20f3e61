/** What all elements look alike in: colours, type, controls, focus. */
import { sheet } from "./dom.js";

export const common = sheet(`
:host {
  --ink: light-dark(#1f2933, #e7ebf0); --quiet: light-dark(#52606d, #a9b4c0); --line: light-dark(#cbd2d9, #465260);
  --soft: light-dark(#f3f5f8, #232b35); --paper: light-dark(#fff, #1a2028); --edge: light-dark(#8492a1, #7d8a98);
  --off: light-dark(#5f6b78, #98a4b1); --accent: light-dark(#0b5cad, #8ab8f5); --on-accent: light-dark(#fff, #0b1c30);
  --accent-dark: light-dark(#084a8c, #a9cbf8); --accent-soft: light-dark(#e6f0fa, #1f3550);
  --bad: light-dark(#b42318, #ff9d90); --bad-soft: light-dark(#fdecea, #43211f); --on-bad: light-dark(#fff, #35100c);
  --good: light-dark(#146c43, #7fd6aa); --good-soft: light-dark(#e7f5ee, #17362a);
  --warn: light-dark(#7a4b00, #f2c46d); --warn-soft: light-dark(#fff5e0, #3b2f17); --round: 8px;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  color: var(--ink); box-sizing: border-box;
}
:host([hidden]), [hidden] { display: none !important; }
*, *::before, *::after { box-sizing: border-box; }
button, input, textarea, select { font: inherit; color: inherit; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
h2 { font-size: 1.2rem; line-height: 1.35; margin: 0 0 .75rem; font-weight: 650; }
h3 { font-size: 1rem; margin: 0 0 .5rem; font-weight: 650; }
kbd { font: .8em ui-monospace, monospace; border: 1px solid var(--line); border-bottom-width: 2px;
  border-radius: 4px; padding: 0 .35em; background: var(--soft); color: var(--ink); white-space: nowrap; }
.error { color: var(--bad); font-size: .9rem; margin: .3rem 0 0; }
.hint { color: var(--quiet); font-size: .9rem; margin: .25rem 0; }
.notice { border: 1px solid var(--bad); background: var(--bad-soft); color: var(--bad); border-radius: var(--round);
  padding: .6rem .8rem; margin: 0 0 .75rem; }
.visually-hidden { position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; }
.plain { border: 1px solid var(--line); background: var(--paper); border-radius: 6px; padding: .35rem .7rem;
  min-height: 36px; cursor: pointer; display: inline-flex; align-items: center; gap: .4rem; }
.plain:hover:not(:disabled) { background: var(--accent-soft); border-color: var(--accent); }
.plain[aria-pressed=true] { background: var(--accent); border-color: var(--accent); color: var(--on-accent); }
.plain:disabled { color: var(--off); cursor: default; background: var(--soft); }
.plain.icon { padding: .35rem; min-width: 36px; justify-content: center; }
.strong { background: var(--accent); border-color: var(--accent); color: var(--on-accent); }
.strong:hover:not(:disabled) { background: var(--accent-dark); }
.field { width: 100%; border: 1px solid var(--edge); border-radius: 6px; padding: .5rem .65rem; background: var(--paper);
  min-height: 40px; }
.field:disabled { background: var(--soft); color: var(--off); }
.field[aria-invalid=true] { border-color: var(--bad); box-shadow: 0 0 0 1px var(--bad); }
svg.icon { width: 20px; height: 20px; fill: none; stroke: currentColor; stroke-width: 2; stroke-linecap: round;
  stroke-linejoin: round; flex: none; }
dialog { border: 0; border-radius: 12px; padding: 0; width: min(720px, 94vw); max-height: 88vh; color: inherit;
  background: var(--paper);
  box-shadow: 0 18px 60px rgb(15 23 42 / .35); }
dialog::backdrop { background: rgb(15 23 42 / .5); }
dialog > header { display: flex; justify-content: space-between; align-items: center; gap: 1rem;
  padding: 1rem 1.25rem; border-bottom: 1px solid var(--line); }
dialog > header h2 { margin: 0; }
dialog > .body { padding: 1rem 1.25rem 1.5rem; overflow: auto; overflow-wrap: anywhere; }
/* Where there is no keyboard its keys are only in the way. */
@media (hover: none) and (pointer: coarse) { kbd, .keyboard { display: none; } }
@media (prefers-reduced-motion: reduce) { *, *::before, *::after { animation: none !important;
  transition: none !important; } }
`);
