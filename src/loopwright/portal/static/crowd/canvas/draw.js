/** Paints shapes in CSS pixels: a light seam below a coloured line, so that both dark and light pictures do. */
import { inkOn } from "./palette.js";
import { KINDS, handles, middles, outline } from "./shapes.js";

/** @typedef {import("./view.js").Point} Point */
/** @typedef {import("./view.js").View} View */
/** @typedef {import("./shapes.js").Shape} Shape */
/** @typedef {import("./shapes.js").Kind} Kind */
/** @typedef {CanvasRenderingContext2D} Context */

/** @param {Context} context @param {Point[]} points @param {boolean} isClosed */
function trace(context, points, isClosed) {
  context.beginPath();
  points.forEach(({ x, y }, index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
  if (isClosed) context.closePath();
}

/** @param {Context} context @param {string} color @param {number} width */
function seam(context, color, width) {
  context.lineJoin = "round";
  context.strokeStyle = "rgba(255,255,255,.85)";
  context.lineWidth = width + 2;
  context.stroke();
  context.strokeStyle = color;
  context.lineWidth = width;
  context.stroke();
}

/** @param {Context} context @param {Point} at @param {string} color @param {number} radius */
export function dot(context, at, color, radius) {
  context.beginPath();
  context.arc(at.x, at.y, radius, 0, 7);
  context.fillStyle = color;
  context.fill();
  context.lineWidth = 2;
  context.strokeStyle = "#fff";
  context.stroke();
}

/** @param {Context} context @param {string} text @param {Point} at @param {string} color */
function tag(context, text, at, color) {
  context.font = "600 12px system-ui, sans-serif";
  const width = context.measureText(text).width + 10;
  const top = at.y >= 18 ? at.y - 18 : at.y;
  context.fillStyle = color;
  context.fillRect(at.x, top, width, 18);
  context.fillStyle = inkOn(color);
  context.textBaseline = "middle";
  context.fillText(text, at.x + 5, top + 9.5);
}

/**
 * @param {Context} context
 * @param {View} view
 * @param {{kind: Kind, shape: Shape, color: string, isSelected?: boolean, isOpen?: boolean, vertex?: number}} what
 */
export function drawShape(context, view, { kind, shape, color, isSelected = false, isOpen = false, vertex = -1 }) {
  const points = outline(kind, shape).map((point) => view.toStage(point));
  if (kind === "keypoint") {
    if (isSelected) dot(context, points[0], "rgba(255,255,255,.6)", 11);
    dot(context, points[0], color, 6);
  } else {
    trace(context, points, KINDS[kind].isClosed && !isOpen);
    if (KINDS[kind].isClosed && !isOpen) {
      context.globalAlpha = isSelected ? 0.25 : 0.14;
      context.fillStyle = color;
      context.fill();
      context.globalAlpha = 1;
    }
    seam(context, color, isSelected ? 3 : 2);
  }
  if (isSelected || isOpen) {
    if (!isOpen) for (const middle of middles(kind, shape)) dot(context, view.toStage(middle), "#fff", 3);
    if (kind !== "keypoint") {
      handles(kind, shape).forEach((handle, index) => {
        dot(context, view.toStage(handle), index === vertex ? "#000000" : color, index === vertex ? 7 : 5);
      });
    }
  }
  const top = points.reduce((best, point) => (point.y < best.y ? point : best), points[0]);
  if (!isOpen) tag(context, shape.label, kind === "keypoint" ? { x: top.x + 8, y: top.y - 4 } : top, color);
}

/** The cursor that arrow keys move. @param {Context} context @param {Point} at */
export function drawCross(context, at) {
  context.beginPath();
  for (const [x, y] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    context.moveTo(at.x + x * 4, at.y + y * 4);
    context.lineTo(at.x + x * 16, at.y + y * 16);
  }
  seam(context, "#000000", 2);
}
