/** Undo and redo over steps that can be taken back and done again. */

/** @typedef {{undo: () => void, redo: () => void}} Step */

const STEPS_MAX = 200;

export class History {
  /** @type {Step[]} */
  #done = [];
  /** @type {Step[]} */
  #undone = [];
  /** @type {() => void} */
  onChange = () => {};

  /** @param {Step} step already done */
  push(step) {
    this.#done.push(step);
    if (this.#done.length > STEPS_MAX) this.#done.shift();
    this.#undone = [];
    this.onChange();
  }

  clear() {
    this.#done = [];
    this.#undone = [];
    this.onChange();
  }

  get canUndo() {
    return this.#done.length > 0;
  }

  get canRedo() {
    return this.#undone.length > 0;
  }

  undo() {
    const step = this.#done.pop();
    if (!step) return;
    step.undo();
    this.#undone.push(step);
    this.onChange();
  }

  redo() {
    const step = this.#undone.pop();
    if (!step) return;
    step.redo();
    this.#done.push(step);
    this.onChange();
  }
}
