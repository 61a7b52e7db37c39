/**
 * What the points tell: openness of eyes and mouth, and the pose of the head.
 *
 * @typedef {import("./canthus.js").Point} Point
 * @typedef {import("./canthus.js").Pose} Pose
 * @typedef {import("./canthus.js").Ratios} Ratios
 */
import { between, distance, meanPoint } from "./boxes.js";

/** @param {Point[]} points @param {(number|number[])[]} rows @returns {Point[]} */
export const converted = (points, rows) => rows.map((row) => meanPoint([row].flat().map((index) => points[index])));

const RIGHT_EYE = [36, 37, 38, 39, 40, 41];
const LEFT_EYE = [42, 43, 44, 45, 46, 47];
const INNER_MOUTH = [60, 61, 62, 63, 64, 65, 66, 67];

/** Mean gap over width; null where the corners coincide. */
function ratio(points, gaps, [from, to]) {
  const width = distance(points[from], points[to]);
  const mean = gaps.reduce((sum, [a, b]) => sum + distance(points[a], points[b]), 0) / gaps.length;
  return width > 0 ? mean / width : null;
}

/**
 * Openness of the eyes (EAR) and of the mouth (MAR), as in canthus.runtime.measures.
 *
 * @param {Point[]} points  the 68
 * @returns {Ratios}
 */
export function ratios(points) {
  const pick = (indices) => indices.map((index) => points[index]);
  const eye = (indices) => ratio(pick(indices), [[1, 5], [2, 4]], [0, 3]); // prettier-ignore
  const mar = ratio(pick(INNER_MOUTH), [[1, 7], [2, 6], [3, 5]], [0, 4]); // prettier-ignore
  return { right_ear: eye(RIGHT_EYE), left_ear: eye(LEFT_EYE), mar };
}

/**
 * How far each upper lid lies above the line of the corners of its eye, in eye widths, as in canthus.fatigue.measures.
 *
 * @param {Point[]} points  the 68
 * @returns {[number, number]|null}  of the right and left eye; null where corners coincide
 */
export function upperLids(points) {
  const heights = [RIGHT_EYE, LEFT_EYE].map((eye) => {
    const [from, a, b, to] = eye.map((index) => points[index]);
    const along = [to[0] - from[0], to[1] - from[1]];
    const above = [0, 1].map((axis) => (from[axis] + to[axis] - a[axis] - b[axis]) / 2);
    return (above[1] * along[0] - above[0] * along[1]) / (along[0] ** 2 + along[1] ** 2);
  });
  return heights.every(Number.isFinite) ? heights : null;
}

const POSE_POINTS = [17, 21, 22, 26, 36, 39, 42, 45, 31, 35, 48, 54, 57, 8];
const HALF_HEAD = [
  [-60, -14.4, 7.3], [-12, -17.2, -17.8], [-45, -1.3, 5.9], [-19.5, 1.3, -5.9], [-15, 43, -21], [-28, 66.5, -9.9],
]; // prettier-ignore
const HEAD = centred([
  ...[[0, 1], [1, 1], [1, -1], [0, -1], [2, 1], [3, 1], [3, -1], [2, -1], [4, 1], [4, -1], [5, 1], [5, -1]].map(
    ([row, side]) => [side * HALF_HEAD[row][0], HALF_HEAD[row][1], HALF_HEAD[row][2]],
  ),
  [0, 82.1, -22.2], [0, 114.6, -10.6],
]); // prettier-ignore
const CAMERA_DISTANCE_MM = 1000;
const HEAD_SPREAD = spreadOf(HEAD);

function centred(points) {
  const mean = points[0].map((_, axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);
  return points.map((point) => point.map((value, axis) => value - mean[axis]));
}

function spreadOf(points) {
  return Math.sqrt(points.reduce((sum, [x, y]) => sum + x * x + y * y, 0) / (2 * points.length));
}

/**
 * Yaw, pitch and roll in degrees, as canthus.pose defines them: a rigid face is fitted to fourteen points, first in a
 * parallel projection, then by Levenberg-Marquardt on the error in the picture.
 *
 * @param {Point[]} points  the 68, in any unit
 * @returns {Pose}
 */
export function headPose(points) {
  const flat = centred(POSE_POINTS.map((index) => points[index]));
  const spread = spreadOf(flat);
  const unknown = { yaw_deg: null, pitch_deg: null, roll_deg: null };
  if (!(spread > 0 && Number.isFinite(spread))) return unknown;
  const scale = HEAD_SPREAD / CAMERA_DISTANCE_MM / spread;
  const seen = flat.map(([x, y]) => [x * scale, y * scale]);
  const start = parallelPose(seen);
  const turn = start && refinedTurn(seen, start);
  if (!turn) return unknown;
  const degrees = (radians) => (radians * 180) / Math.PI;
  return {
    yaw_deg: degrees(Math.atan2(-turn[2][0], turn[2][2])),
    pitch_deg: degrees(Math.asin(between(turn[2][1], -1, 1))),
    roll_deg: degrees(Math.atan2(-turn[0][1], turn[1][1])),
  };
}

const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const dot = (a, b) => a.reduce((sum, value, index) => sum + value * b[index], 0);
const unit = (a) => a.map((value) => value / Math.hypot(...a));

/** Rotation and place of the head in a parallel projection, by least squares; null if they cannot be told. */
function parallelPose(seen) {
  const gram = [0, 1, 2].map((i) => [0, 1, 2].map((j) => HEAD.reduce((sum, p) => sum + p[i] * p[j], 0)));
  const rows = [0, 1].map((axis) => solved(gram, [0, 1, 2].map((i) => dot(HEAD.map((p) => p[i]), seen.map((q) => q[axis])))));
  const [across, down] = rows.map((row) => Math.hypot(...row));
  if (!(across > 0 && down > 0)) return null;
  const [a, b] = rows.map(unit);
  const [sum, apart] = [unit(a.map((v, i) => v + b[i])), unit(a.map((v, i) => v - b[i]))];
  const first = unit(sum.map((v, i) => v + apart[i])); // the nearest pair of axes at right angles
  const second = unit(sum.map((v, i) => v - apart[i]));
  return { turn: [first, second, cross(first, second)], place: [0, 0, 2 / (across + down)] };
}

/** The rotation that fits best. @returns {number[][]|null} */
function refinedTurn(seen, { turn, place }) {
  let [error, damping] = [misfit(seen, turn, place), 1e-3];
  for (let round = 0; round < 50; round++) {
    const { normal, slope } = derivatives(seen, turn, place);
    const damped = normal.map((row, i) => row.map((value, j) => (i === j ? value * (1 + damping) : value)));
    const step = solved(damped, slope);
    const [turned, shifted] = [rotated(turn, step.slice(0, 3)), place.map((value, axis) => value + step[3 + axis])];
    const now = misfit(seen, turned, shifted);
    if (!(now <= error)) {
      if (damping > 1e8) break;
      damping *= 10;
      continue;
    }
    const settled = error - now <= 1e-12 * error;
    [turn, place, error, damping] = [turned, shifted, now, damping / 10];
    if (settled) break;
  }
  return turn.flat().every(Number.isFinite) ? turn : null;
}

const inCamera = (point, turn, place) => turn.map((row, axis) => dot(row, point) + place[axis]);

function misfit(seen, turn, place) {
  return HEAD.reduce((sum, point, index) => {
    const [x, y, z] = inCamera(point, turn, place);
    return sum + (z > 0 ? (x / z - seen[index][0]) ** 2 + (y / z - seen[index][1]) ** 2 : Infinity);
  }, 0);
}

/** Normal equations of one Gauss-Newton step: three angles about the axes of the camera, and the place. */
function derivatives(seen, turn, place) {
  const normal = Array.from({ length: 6 }, () => new Array(6).fill(0));
  const slope = new Array(6).fill(0);
  HEAD.forEach((point, index) => {
    const turned = turn.map((row) => dot(row, point));
    const [x, y, z] = turned.map((value, axis) => value + place[axis]);
    const rows = [[1 / z, 0, -x / (z * z)], [0, 1 / z, -y / (z * z)]]; // prettier-ignore
    const left = [seen[index][0] - x / z, seen[index][1] - y / z];
    rows.forEach((row, axis) => {
      const whole = [...cross(turned, row), ...row];
      for (let i = 0; i < 6; i++) {
        slope[i] += whole[i] * left[axis];
        for (let j = 0; j < 6; j++) normal[i][j] += whole[i] * whole[j];
      }
    });
  });
  return { normal, slope };
}

/** A rotation followed by one about `axis`, whose length is the angle (Rodrigues). */
function rotated(turn, axis) {
  const angle = Math.hypot(...axis);
  if (angle === 0) return turn;
  const k = axis.map((value) => value / angle);
  const columns = [0, 1, 2].map((column) => {
    const v = turn.map((row) => row[column]);
    const [kv, along] = [cross(k, v), dot(k, v) * (1 - Math.cos(angle))];
    return v.map((value, i) => value * Math.cos(angle) + kv[i] * Math.sin(angle) + k[i] * along);
  });
  return [0, 1, 2].map((row) => columns.map((column) => column[row]));
}

/** Solution of a small system of linear equations, by elimination with pivots. */
function solved(matrix, right) {
  const rows = matrix.map((row, index) => [...row, right[index]]);
  for (let column = 0; column < rows.length; column++) {
    const best = rows.slice(column).reduce((at, row, i) => (Math.abs(row[column]) > Math.abs(rows[at][column]) ? column + i : at), column);
    [rows[column], rows[best]] = [rows[best], rows[column]];
    for (let row = 0; row < rows.length; row++) {
      if (row === column) continue;
      const factor = rows[row][column] / rows[column][column];
      for (let i = column; i <= rows.length; i++) rows[row][i] -= factor * rows[column][i];
    }
  }
  return rows.map((row, index) => row[rows.length] / row[index]);
}
