/** Everything that an editor of shapes does, by keyboard. */
import { clamp } from "../dom.js";
import { KINDS, isHit, moveBy, moveHandle, tidy } from "./shapes.js";

/** @typedef {import("./editor.js").Editor} Editor */
/** @typedef {import("./view.js").View} View */
/** @typedef {{undo(): void, redo(): void}} Undoing */

/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * Zoom, undo and redo, which all canvases share.
 * @param {KeyboardEvent} event @param {View} view @param {Undoing} history @returns {boolean} whether it was such a key
 */
export function commonKey(event, view, history) {
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (key === "z" && event.shiftKey) history.redo();
    else if (key === "z") history.undo();
    else if (key === "y") history.redo();
    else return false;
    return true;
  }
  if (event.altKey && event.key in ARROWS) {
    const [x, y] = ARROWS[event.key];
    view.panBy(-x * 60, -y * 60);
  } else if (key === "+" || key === "=") view.zoomBy(1.25);
  else if (key === "-" || key === "_") view.zoomBy(0.8);
  else if (key === "f") view.fit();
  else return false;
  return true;
}

/** @param {Editor} editor @param {KeyboardEvent} event @param {[number, number]} arrow */
function arrowKey(editor, event, arrow) {
  const [x, y] = arrow.map((part) => part * (event.shiftKey ? 10 : 1));
  const { view, kind, current: shape } = editor;
  if (!shape || editor.open) {
    const from = editor.cross ?? { x: Math.round(view.size.x / 2), y: Math.round(view.size.y / 2) };
    editor.cross = { x: clamp(from.x + x, 0, view.size.x), y: clamp(from.y + y, 0, view.size.y) };
    editor.host.say(`${editor.cross.x}, ${editor.cross.y}`);
    view.show(editor.cross);
    return view.draw();
  }
  const before = editor.snapshot();
  const corner = shape.points[shape.points.length - 1];
  if (editor.vertex >= 0) {
    const from = shape.points[editor.vertex];
    moveHandle(kind, shape, editor.vertex, { x: from.x + x, y: from.y + y });
  } else if (event.ctrlKey && kind === "box") {
    const [first] = shape.points;
    moveHandle(kind, shape, 2, { x: Math.max(corner.x + x, first.x + 1), y: Math.max(corner.y + y, first.y + 1) });
  } else moveBy(shape, x, y, view.size);
  tidy(kind, shape, view.size);
  view.show(editor.vertex >= 0 ? shape.points[editor.vertex] : corner);
  editor.commit(before);
  editor.isChosen = true;
  editor.host.onSelect();
}

/** @param {Editor} editor @param {number} step */
function nextVertex(editor, step) {
  const count = editor.current?.points.length ?? 0;
  if (!count || editor.kind === "box" || editor.kind === "keypoint") return;
  editor.vertex = (Math.max(editor.vertex, step > 0 ? -1 : count) + step + count) % count;
  const point = editor.current?.points[editor.vertex];
  if (point) editor.host.say(`Point ${editor.vertex + 1} at ${point.x}, ${point.y}`);
  editor.view.draw();
}

/** Puts a point at the cursor; at a shape with nothing begun, chooses it. @param {Editor} editor */
function putAtCross(editor) {
  const at = editor.cross;
  if (!at) return;
  const under = editor.shapes.findIndex((shape) => isHit(editor.kind, shape, at, 4 / editor.view.scale, false));
  if (!editor.open && under >= 0) editor.select(under, true);
  else editor.putPoint(at);
}

/** @param {Editor} editor @param {KeyboardEvent} event @returns {boolean} whether Tab stays inside */
function tabKey(editor, event) {
  const next = editor.selected + (event.shiftKey ? -1 : 1);
  if (editor.open || !editor.shapes.length || (event.shiftKey && editor.selected < 0)) return false;
  if (next < 0 || next >= editor.shapes.length) {
    editor.select(-1);
    return false;
  }
  editor.select(next, true);
  editor.view.show(editor.shapes[next].points[0]);
  return true;
}

/** @param {Editor} editor */
function escapeKey(editor) {
  if (editor.open) editor.cancel();
  else if (editor.vertex >= 0) editor.vertex = -1;
  else if (editor.selected >= 0) editor.select(-1);
  else editor.cross = null;
  editor.view.draw();
}

/**
 * @param {Editor} editor
 * @param {KeyboardEvent} event
 * @returns {boolean} whether the key was for the editor
 */
export function editorKey(editor, event) {
  const { key } = event;
  if (key in ARROWS && !event.altKey) arrowKey(editor, event, ARROWS[key]);
  else if (editor.open && (event.ctrlKey || event.metaKey) && key.toLowerCase() === "z") editor.dropPoint();
  else if (commonKey(event, editor.view, editor.history)) return true;
  else if (key === "Tab") return tabKey(editor, event);
  else if (key === " ") {
    // With the cursor it puts a point; without, it is held down to pan.
    if (!editor.cross) return true;
    if (!event.repeat) putAtCross(editor);
  } else if (key === "Enter") {
    if (editor.open && editor.open.points.length >= KINDS[editor.kind].least) editor.finish();
    else if (editor.cross) putAtCross(editor);
    else return false;
  } else if (key === "Escape") escapeKey(editor);
  else if (key === "[" || key === "]") nextVertex(editor, key === "]" ? 1 : -1);
  else if (key === "Delete" || key === "Backspace") {
    if (editor.open) editor.dropPoint();
    else if (!editor.removeVertex() && editor.selected >= 0) editor.remove(editor.selected);
  } else return false;
  return true;
}
