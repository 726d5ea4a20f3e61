/** The geometry of boxes, polygons, polylines, lines and keypoints: all are lists of points with a label. */
import { clamp } from "../dom.js";

/** @typedef {import("./view.js").Point} Point */
/** @typedef {{label: string, points: Point[]}} Shape A box is its upper left and its lower right corner. */
/** @typedef {"box" | "polygon" | "polyline" | "line" | "keypoint"} Kind */

/** @type {Record<Kind, {word: string, least: number, most: number, isClosed: boolean}>} */
export const KINDS = {
  box: { word: "Box", least: 2, most: 2, isClosed: true },
  polygon: { word: "Polygon", least: 3, most: Infinity, isClosed: true },
  polyline: { word: "Polyline", least: 2, most: Infinity, isClosed: false },
  line: { word: "Line", least: 2, most: 2, isClosed: false },
  keypoint: { word: "Keypoint", least: 1, most: 1, isClosed: false },
};

/** @param {Shape} shape @returns {Shape} */
export function copyOf(shape) {
  return { label: shape.label, points: shape.points.map(({ x, y }) => ({ x, y })) };
}

/** The corners of a box, clockwise from the upper left. @param {Shape} shape @returns {Point[]} */
export function corners({ points: [a, b] }) {
  return [a, { x: b.x, y: a.y }, b, { x: a.x, y: b.y }];
}

/** @param {Kind} kind @param {Shape} shape @returns {Point[]} */
export function outline(kind, shape) {
  return kind === "box" ? corners(shape) : shape.points;
}

/** Where a shape can be taken hold of. @param {Kind} kind @param {Shape} shape @returns {Point[]} */
export function handles(kind, shape) {
  if (kind !== "box") return shape.points;
  const [a, b] = shape.points;
  const middle = { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
  const edges = [{ x: middle.x, y: a.y }, { x: b.x, y: middle.y }, { x: middle.x, y: b.y }, { x: a.x, y: middle.y }];
  return [...corners(shape), ...edges];
}

/** The middles of the edges, where a new point can be pulled out. @param {Kind} kind @param {Shape} shape */
export function middles(kind, shape) {
  if (kind !== "polygon" && kind !== "polyline") return [];
  return edgesOf(kind, shape).map(([a, b]) => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 }));
}

/** @param {Kind} kind @param {Shape} shape @returns {[Point, Point][]} */
export function edgesOf(kind, shape) {
  const points = outline(kind, shape);
  /** @type {[Point, Point][]} */
  const edges = points.slice(1).map((point, index) => [points[index], point]);
  if (KINDS[kind].isClosed && points.length > 2) edges.push([points[points.length - 1], points[0]]);
  return edges;
}

/** @param {Kind} kind @param {Shape} shape @param {number} handle @param {Point} to */
export function moveHandle(kind, shape, handle, to) {
  if (kind !== "box") {
    shape.points[handle] = { x: to.x, y: to.y };
    return;
  }
  const [a, b] = shape.points;
  if (handle === 0 || handle === 3 || handle === 7) a.x = to.x;
  if (handle === 1 || handle === 2 || handle === 5) b.x = to.x;
  if (handle === 0 || handle === 1 || handle === 4) a.y = to.y;
  if (handle === 2 || handle === 3 || handle === 6) b.y = to.y;
}

/** @param {Shape} shape @param {number} x @param {number} y @param {Point} size of the picture */
export function moveBy(shape, x, y, size) {
  const xs = shape.points.map((point) => point.x);
  const ys = shape.points.map((point) => point.y);
  const dx = clamp(x, -Math.min(...xs), size.x - Math.max(...xs));
  const dy = clamp(y, -Math.min(...ys), size.y - Math.max(...ys));
  for (const point of shape.points) {
    point.x += dx;
    point.y += dy;
  }
}

/** Puts a shape on whole pixels inside the picture, a box's corners in order. @param {Kind} kind @param {Shape} shape @param {Point} size */
export function tidy(kind, shape, size) {
  for (const point of shape.points) {
    point.x = Math.round(clamp(point.x, 0, size.x || Infinity));
    point.y = Math.round(clamp(point.y, 0, size.y || Infinity));
  }
  if (kind !== "box") return;
  const [a, b] = shape.points;
  shape.points = [
    { x: Math.min(a.x, b.x), y: Math.min(a.y, b.y) },
    { x: Math.max(a.x, b.x), y: Math.max(a.y, b.y) },
  ];
}

/** Whether a shape is large enough to keep. @param {Kind} kind @param {Shape} shape */
export function isWhole(kind, shape) {
  const { least } = KINDS[kind];
  if (shape.points.length < least) return false;
  const [a, b] = shape.points;
  if (kind === "box") return b.x - a.x >= 1 && b.y - a.y >= 1;
  return kind === "keypoint" || shape.points.some((point) => point.x !== a.x || point.y !== a.y);
}

/** @param {Point} p @param {Point} a @param {Point} b */
function distanceToEdge(p, a, b) {
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const length = dx * dx + dy * dy;
  const t = length ? clamp(((p.x - a.x) * dx + (p.y - a.y) * dy) / length, 0, 1) : 0;
  return Math.hypot(p.x - a.x - t * dx, p.y - a.y - t * dy);
}

/** @param {Point} p @param {Point[]} polygon */
export function isInside(p, polygon) {
  let inside = false;
  polygon.forEach((a, index) => {
    const b = polygon[(index + polygon.length - 1) % polygon.length];
    if (a.y > p.y !== b.y > p.y && p.x < ((b.x - a.x) * (p.y - a.y)) / (b.y - a.y) + a.x) inside = !inside;
  });
  return inside;
}

/** @param {Point} p @param {Point[]} points @param {number} reach @returns {number} the nearest in reach, else -1 */
export function nearest(p, points, reach) {
  let [best, found] = [reach, -1];
  points.forEach((point, index) => {
    const distance = Math.hypot(point.x - p.x, point.y - p.y);
    if (distance <= best) [best, found] = [distance, index];
  });
  return found;
}

/** @param {Kind} kind @param {Shape} shape @param {Point} p @param {number} reach @param {boolean} withInside */
export function isHit(kind, shape, p, reach, withInside) {
  if (kind === "keypoint") return nearest(p, shape.points, reach * 1.5) >= 0;
  if (edgesOf(kind, shape).some(([a, b]) => distanceToEdge(p, a, b) <= reach)) return true;
  return withInside && KINDS[kind].isClosed && isInside(p, outline(kind, shape));
}

/** In words, for those who hear it. @param {Kind} kind @param {Shape} shape */
export function describe(kind, shape) {
  const [a, b] = shape.points;
  if (kind === "box") return `${b.x - a.x} by ${b.y - a.y} at ${a.x}, ${a.y}`;
  if (kind === "keypoint") return `at ${a.x}, ${a.y}`;
  return `${shape.points.length} points from ${a.x}, ${a.y}`;
}
