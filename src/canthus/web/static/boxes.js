/**
 * Numbers, points and boxes; the cells of the detector, and which of several boxes of one face is kept.
 *
 * @typedef {import("./canthus.js").Affine} Affine
 * @typedef {import("./canthus.js").Box} Box
 * @typedef {import("./canthus.js").Found} Found
 * @typedef {import("./canthus.js").Point} Point
 * @typedef {import("./canthus.js").Scheme} Scheme
 */

const MOST_OVERLAP = 0.45; // intersection over union of two kept boxes
const MOST_WITHIN = 0.7; // share of a face inside a better one, where views are merged
const MOST_CANDIDATES = 1000;
const LOG_SIZES = [-4, 10];
const MOST_TILES = 24;
const TILE_OVERLAP = 0.25;
const ROW = 15; // numbers of a cell: score, box, five points
const THIN = 0.01;

/** @param {Scheme} scheme */
export const hasJawLine = (scheme) => (scheme.groups.jaw ?? []).length >= 5;
export const longer = ([x1, y1, x2, y2]) => Math.max(x2 - x1, y2 - y1);
export const area = ([x1, y1, x2, y2]) => Math.max(x2 - x1, 0) * Math.max(y2 - y1, 0);
export const sharedArea = (a, b) =>
  Math.max(Math.min(a[2], b[2]) - Math.max(a[0], b[0]), 0) * Math.max(Math.min(a[3], b[3]) - Math.max(a[1], b[1]), 0);
/** Intersection over union. @param {Box} a @param {Box} b */
export const overlap = (a, b) => sharedArea(a, b) / (area(a) + area(b) - sharedArea(a, b));
export const between = (value, low, high) => Math.min(Math.max(value, low), high);
export const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);

/** To the nearest integer, a half to the even one, as in Python. */
export function roundEven(value) {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 ? floor + 1 : floor;
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** @param {Point[]} points @returns {Point} */
export const meanPoint = (points) => [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);

/** A point turned by `turn` radians, clockwise on the screen, about a centre. @returns {Point} */
export function turned([x, y], turn, [centreX, centreY] = [0, 0]) {
  const [cos, sin, right, down] = [Math.cos(turn), Math.sin(turn), x - centreX, y - centreY];
  return [centreX + cos * right - sin * down, centreY + sin * right + cos * down];
}

/** @param {Found} face @param {Affine} map  one that does not turn @returns {Found} */
export function moved(face, { x, y }) {
  const to = ([px, py]) => [x[0] * px + x[1] * py + x[2], y[0] * px + y[1] * py + y[2]];
  const corner = (px, py) => to([px - 0.5, py - 0.5]).map((value) => value + 0.5); // box corners are edges
  const [x1, y1, x2, y2] = face.box;
  return { ...face, box: [...corner(x1, y1), ...corner(x2, y2)], points: face.points.map(to) };
}

/** Positions of tiles along a side, evenly spaced from end to end. */
export function tileStarts(side, tile) {
  if (side <= tile) return [0];
  const steps = Math.ceil((side - tile) / Math.max(1, Math.floor(tile * (1 - TILE_OVERLAP))));
  return Array.from({ length: steps + 1 }, (_, index) => roundEven((index * (side - tile)) / steps));
}

/** By which power of two a picture is shrunk so that `MOST_TILES` tiles suffice. */
export function automaticShrink(height, width, size) {
  for (let shrink = 2; ; shrink *= 2) {
    const tiles = [height, width].map((side) => tileStarts(Math.floor(side / shrink), size).length);
    if (tiles[0] * tiles[1] <= MOST_TILES) return shrink;
  }
}

/**
 * Decode the cells of the detector to faces, best first, one box each, in pixels of its input.
 *
 * @param {Float32Array} rows
 * @param {number} height
 * @param {number} width
 * @param {number[]} strides
 * @param {number} leastScore
 * @returns {Found[]}
 */
export function decode(rows, height, width, strides, leastScore) {
  const least = Math.log(leastScore / (1 - leastScore));
  const chosen = [];
  let cell = 0;
  for (const stride of strides) {
    const columns = Math.floor(width / stride);
    const end = cell + Math.floor(height / stride) * columns;
    for (let place = 0; cell < end; cell++, place++) {
      const logit = rows[cell * ROW];
      if (logit >= least) chosen.push({ logit, cell, stride, column: place % columns, row: Math.floor(place / columns) });
    }
  }
  chosen.sort((a, b) => b.logit - a.logit || a.cell - b.cell);
  const found = chosen.slice(0, MOST_CANDIDATES).map(({ logit, cell: at, stride, column, row }) => {
    const [, dx, dy, logWidth, logHeight, ...five] = rows.subarray(at * ROW, (at + 1) * ROW);
    const [x, y] = [(column + 0.5 + dx) * stride, (row + 0.5 + dy) * stride];
    const [w, h] = [logWidth, logHeight].map((log) => (Math.exp(between(log, ...LOG_SIZES)) * stride) / 2);
    const points = [0, 2, 4, 6, 8].map((index) => [
      (column + 0.5 + five[index]) * stride - 0.5,
      (row + 0.5 + five[index + 1]) * stride - 0.5,
    ]);
    return { box: [x - w, y - h, x + w, y + h], score: 1 / (1 + Math.exp(-Math.max(logit, -80))), points };
  });
  return distinct(found, 1);
}

/** Keep the best face, drop those that overlap it too much, repeat. @param {Found[]} faces  best first */
export function distinct(faces, mostWithin, mostOverlap = MOST_OVERLAP) {
  const kept = [];
  for (const face of faces) {
    const own = area(face.box);
    const apart = kept.every((better) => {
      const shared = sharedArea(face.box, better.box);
      const overlaps = shared > mostOverlap * (own + area(better.box) - shared);
      return !overlaps && (mostWithin >= 1 || shared <= mostWithin * own);
    });
    if (apart) kept.push(face);
  }
  return kept;
}

/** Merge the faces of several views of a picture. @param {Found[]} faces @returns {Found[]} */
export function merged(faces) {
  return distinct([...faces].sort((a, b) => b.score - a.score), MOST_WITHIN);
}

/** Smallest box around points. @param {Point[]} points @returns {Box} */
export function hullBox(points) {
  const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis] + 0.5));
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

/**
 * The face box of points; see the scheme.
 *
 * @param {Point[]} points
 * @param {Scheme} scheme
 * @returns {Box}
 */
export function faceBox(points, scheme) {
  const { part: name = "", shift = [0, 0], size = null } = scheme.face_box ?? {};
  const shown = name ? partOf(scheme, name).map((index) => points[index]) : points;
  const hull = hullBox(shown);
  const side = longer(hull);
  const sides = size ? size.map((share) => share * side) : [hull[2] - hull[0], hull[3] - hull[1]];
  if (!scheme.face_box && Math.min(...sides) >= THIN * side) return hull;
  const [w, h] = sides.map((length) => Math.max(length, THIN * side) / 2);
  const [x, y] = [(hull[0] + hull[2]) / 2 + side * shift[0], (hull[1] + hull[3]) / 2 + side * shift[1]];
  return [x - w, y - h, x + w, y + h];
}

/**
 * The face box of a turned face: the sides of the upright face, about its centre in the picture.
 *
 * @param {Point[]} points
 * @param {number} turn  radians, clockwise on the screen
 * @param {Scheme} scheme
 * @returns {Box}
 */
export function turnedBox(points, turn, scheme) {
  if (!turn) return faceBox(points, scheme);
  const [x1, y1, x2, y2] = faceBox(points.map((point) => turned(point, -turn)), scheme); // prettier-ignore
  const [x, y] = turned([(x1 + x2 - 1) / 2, (y1 + y2 - 1) / 2], turn);
  const [w, h] = [(x2 - x1) / 2, (y2 - y1) / 2];
  return [x + 0.5 - w, y + 0.5 - h, x + 0.5 + w, y + 0.5 + h];
}

const RADIANS = Math.PI / 180;
const TURNED = 30 * RADIANS; // least turn of a face whose crop is turned upright
const STILL_TURNED = 20 * RADIANS; // the same of a followed face whose last crop was turned
const FIVE_FACE = [[-0.787, -0.847], [0.787, -0.847], [0, 0.036], [-0.69, 0.829], [0.69, 0.829]]; // prettier-ignore

/** Turn of the crop of a detected face by its five points: radians, clockwise on the screen; 0 if nearly upright. */
export function cropTurn(five) {
  const [x, y] = meanPoint(five);
  let [along, across] = [0, 0]; // of the rotation of the mean face that fits best
  five.forEach((point, index) => {
    const [right, down, [faceX, faceY]] = [point[0] - x, point[1] - y, FIVE_FACE[index]];
    along += right * faceX + down * faceY;
    across += down * faceX - right * faceY;
  });
  const turn = Math.atan2(across, along);
  return Math.abs(turn) > TURNED ? turn : 0;
}

/** Turn of the next crop of a followed face, after a crop that was turned by `before`. */
export function keptTurn(points, scheme, before) {
  const mouth = mouthOf(scheme);
  if (!scheme.pupils?.length || !mouth.length) return 0;
  const at = (indices) => meanPoint(indices.map((index) => points[index]));
  const [eyes, lips] = [meanPoint(scheme.pupils.map(at)), at(mouth)];
  const turn = Math.atan2(eyes[0] - lips[0], lips[1] - eyes[1]);
  return Math.abs(turn) > (before ? STILL_TURNED : TURNED) ? turn : 0;
}

/** Indices of the points of the mouth. @param {Scheme} scheme */
export const mouthOf = (scheme) =>
  Object.keys(scheme.groups).filter((name) => name.includes("mouth")).flatMap((name) => scheme.groups[name]); // prettier-ignore

const PARTS = {
  eyes: ["right_eye", "left_eye"], brows: ["right_brow", "left_brow"], mouth: ["outer_mouth", "inner_mouth", "mouth"],
}; // prettier-ignore

/** Indices of a group of a scheme, or of several groups that a part joins. */
const partOf = (scheme, name) => scheme.groups[name] ?? PARTS[name].flatMap((group) => scheme.groups[group] ?? []);
