/**
 * Faces and their landmarks in the browser: the pipeline of canthus on onnxruntime-web.
 *
 *     import { loadPipeline, readPicture } from "./canthus.js";
 *     const pipeline = await loadPipeline();
 *     const frame = await pipeline.detect(await readPicture(file));
 *     frame.faces[0].points; // [[x, y], ...] in pixels of the picture
 *
 * Every step is that of the Python package, so that both give the same faces: x points right and y down, the centre of
 * the top-left pixel is (0, 0), and a box is x1, y1, x2, y2 in edge coordinates (docs/coordinates.md).
 *
 * @typedef {{data: Uint8ClampedArray, width: number, height: number}} Picture  RGBA, as ImageData
 * @typedef {[number, number]} Point
 * @typedef {[number, number, number, number]} Box
 * @typedef {{yaw_deg: number|null, pitch_deg: number|null, roll_deg: number|null}} Pose
 * @typedef {{right_ear: number|null, left_ear: number|null, mar: number|null}} Ratios
 * @typedef {{x: number[], y: number[]}} Affine  x' = x[0] x + x[1] y + x[2], y' = y[0] x + y[1] y + y[2]
 * @typedef {{box: Box, score: number, points: Point[]}} Found  a face of the detector, with its five points
 *
 * @typedef {object} Scheme  a numbering of points, with the fields of a scheme file (docs/own_points.md)
 * @property {string} name
 * @property {number} count
 * @property {Object<string, number[]>} groups
 * @property {number[]} eye_corners
 * @property {number[][]} pupils
 * @property {{part: string, shift: number[], size: number[]|null}|null} face_box
 * @property {(number|number[])[]|null} [ibug_68]  for each of the 68 points, the points whose mean it is
 *
 * @typedef {object} Face
 * @property {Box} box
 * @property {number} score  of the detector, 0 to 1
 * @property {Point[]} points
 * @property {Point[]} [measured]  before smoothing; only of a followed face
 * @property {Point[]} [five_points]  the detector's own
 * @property {number[]|null} confidence  of each point, 0 to 1; null if the model gives none
 * @property {number|null} face_confidence  of the whole face
 * @property {number} [id]  number of a followed face
 * @property {Pose|null} pose  null where the points are not the 68, or none of their conversions
 * @property {Ratios|null} ratios
 *
 * @typedef {{width: number, height: number, scheme: Scheme, faces: Face[]}} Frame
 */

const MOST_OVERLAP = 0.45; // intersection over union of two kept boxes
const MOST_WITHIN = 0.7; // share of a face inside a better one, where views are merged
const MOST_CANDIDATES = 1000;
const LOG_SIZES = [-4, 10];
const SECOND_LOOK = 0.3; // size of the second view, as a share of the first
const NEEDS_SECOND = 400;
const LARGEST = 240;
const SMALLEST = 48;
const MOST_SHRINK = 2;
const MOST_TILES = 24;
const TILE_OVERLAP = 0.25;
const CUT = 0.05;
const ROW = 15; // numbers of a cell: score, box, five points
const MAX_BATCH = 32;
const THIN = 0.01;
const SURE = 1e-4;

/**
 * Open a landmark model and a face detector.
 *
 * @param {object} [options]
 * @param {string|URL} [options.base]  folder of `models`, `ort` and `schemes.json`; by default that of this module
 * @param {string|URL|ArrayBuffer} [options.model]  landmark model; by default `models/landmarks.onnx`
 * @param {string|URL|ArrayBuffer} [options.detector]  face detector; by default `models/detector.onnx`
 * @param {"wasm"|"webgpu"} [options.backend]
 * @param {number} [options.threads]  of wasm; more than one needs a page that is cross-origin isolated
 * @param {number} [options.minScore]  least score of a face; by default that of the detector
 * @returns {Promise<Pipeline>}
 */
export async function loadPipeline(options = {}) {
  const { backend = "wasm", threads = 1 } = options;
  const base = new URL(options.base ?? ".", import.meta.url);
  const ort = await import(new URL(`ort/ort.${backend}.bundle.min.mjs`, base).href);
  ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? threads : 1;
  ort.env.logLevel = "error";
  const [schemes, model, detector] = await Promise.all([
    content(new URL("schemes.json", base)).then((bytes) => JSON.parse(new TextDecoder().decode(bytes))),
    content(options.model ?? new URL("models/landmarks.onnx", base)),
    content(options.detector ?? new URL("models/detector.onnx", base)),
  ]);
  const cards = { model: readCard(model, "landmarks"), detector: readCard(detector, "detector") };
  const scheme = cards.model.own_scheme ?? schemes[cards.model.scheme];
  if (!scheme) throw new Error(`the model names the scheme ${cards.model.scheme}, which is not known here`);
  const open = (bytes) => ort.InferenceSession.create(new Uint8Array(bytes), { executionProviders: [backend] });
  const sessions = { model: await open(model), detector: await open(detector) };
  const about = { backend, threads: ort.env.wasm.numThreads };
  return new Pipeline({ ort, sessions, cards, scheme, about, minScore: options.minScore });
}

/** @param {string|URL|ArrayBuffer} source @returns {Promise<ArrayBuffer>} */
async function content(source) {
  if (source instanceof ArrayBuffer) return source;
  const answer = await fetch(source);
  if (!answer.ok) throw new Error(`${source}: ${answer.status} ${answer.statusText}`);
  return answer.arrayBuffer();
}

/**
 * The card of a model: the metadata entry "canthus" of an ONNX file.
 *
 * @param {ArrayBuffer} model
 * @param {"landmarks"|"detector"} [kind]  what the model must be
 * @returns {Object<string, any>}
 */
export function readCard(model, kind) {
  for (const entry of fields(new Uint8Array(model), 14)) {
    const [key, value] = [1, 2].map((number) => new TextDecoder().decode(fields(entry, number)[0]));
    if (key !== "canthus") continue;
    const card = JSON.parse(value);
    const found = card.kind ?? "landmarks";
    if (kind && found !== kind) throw new Error(`the model is of the kind "${found}", expected "${kind}"`);
    return card;
  }
  throw new Error("the file holds no model card; expected an ONNX file of canthus export");
}

/** The fields of one number in a message of Protocol Buffers. @returns {Uint8Array[]} */
function fields(bytes, wanted) {
  const found = [];
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++];
      if (byte === undefined) throw new Error("the file is no ONNX model, or is cut short");
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const kind = tag % 8;
    const length = kind === 2 ? varint() : { 1: 8, 5: 4 }[kind];
    if (kind === 0) varint();
    else if (length === undefined) throw new Error("the file is no ONNX model");
    else {
      if (kind === 2 && Math.floor(tag / 8) === wanted) found.push(bytes.subarray(at, at + length));
      at += length;
    }
  }
  return found;
}

/**
 * The pixels of a picture file, upright; of a video or canvas, as it is shown.
 *
 * @param {Blob|ImageBitmap|VideoFrame|HTMLVideoElement|HTMLCanvasElement|OffscreenCanvas} source
 * @returns {Promise<Picture>}
 */
export async function readPicture(source) {
  const asStored = { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const shown = source instanceof Blob ? await createImageBitmap(source, asStored) : source;
  const width = shown.displayWidth ?? shown.videoWidth ?? shown.width;
  const height = shown.displayHeight ?? shown.videoHeight ?? shown.height;
  if (!canvas || canvas.width !== width || canvas.height !== height) {
    canvas = new OffscreenCanvas(width, height);
    pen = canvas.getContext("2d", { willReadFrequently: true });
  }
  pen.globalCompositeOperation = "copy"; // what was there before does not shine through
  pen.drawImage(shown, 0, 0);
  if (source instanceof Blob) shown.close();
  return pen.getImageData(0, 0, width, height);
}

/** @type {OffscreenCanvas} */ let canvas;
/** @type {OffscreenCanvasRenderingContext2D} */ let pen;

/** Finds the faces of pictures; `loadPipeline` makes it. */
export class Pipeline {
  constructor({ ort, sessions, cards, scheme, about, minScore }) {
    this.scheme = scheme;
    this.cards = cards;
    this.about = about;
    this.minScore = minScore ?? cards.detector.score;
    // Points of one's own without a jaw line were trained in crops around themselves.
    this.passes = cards.model.own_scheme && scheme.count > 1 && !hasJawLine(scheme) ? 2 : 1;
    this.ort = ort;
    this.sessions = sessions;
  }

  /**
   * Faces and landmarks of one picture, best first.
   *
   * @param {Picture} picture
   * @returns {Promise<Frame>}
   */
  async detect(picture) {
    const found = await this.find(picture, { tiles: true });
    const marks = await this.mark(picture, found.map((face) => face.box));
    const faces = found.map((face, index) => ({
      box: face.box, score: face.score, five_points: face.points, ...marks[index], ...this.measures(marks[index].points),
    })); // prettier-ignore
    return { width: picture.width, height: picture.height, scheme: this.scheme, faces };
  }

  /**
   * The faces of the detector, best first.
   *
   * @param {Picture} picture
   * @param {{tiles?: boolean}} [options]  whether large pictures are also searched in tiles
   * @returns {Promise<Found[]>}
   */
  async find(picture, { tiles = false } = {}) {
    const size = this.cards.detector.size;
    const found = await this.views(picture, size);
    if (!tiles || Math.max(picture.width, picture.height) <= MOST_SHRINK * size) return found;
    const shrink = automaticShrink(picture.height, picture.width, size);
    let level = picture;
    for (let done = 1; done < shrink; done *= 2) level = halve(level);
    const grow = { x: [shrink, 0, shrink / 2 - 0.5], y: [0, shrink, shrink / 2 - 0.5] };
    const all = [...found];
    const [wide, high] = [Math.min(size, level.width), Math.min(size, level.height)];
    for (const top of tileStarts(level.height, high)) {
      for (const left of tileStarts(level.width, wide)) {
        const inner = [left > 0, top > 0, left + wide < level.width, top + high < level.height];
        for (const face of await this.views(part(level, left, top, wide, high), size)) {
          const [x1, y1, x2, y2] = face.box;
          const near = CUT * longer(face.box);
          if ([x1, y1, wide - x2, high - y2].some((room, side) => inner[side] && room < near)) continue;
          all.push(moved(moved(face, { x: [1, 0, left], y: [0, 1, top] }), grow));
        }
      }
    }
    return merged(all);
  }

  /** Faces of a picture, and of a second, smaller view that shows the largest faces. @returns {Promise<Found[]>} */
  async views(picture, size) {
    const multiple = Math.max(...this.cards.detector.strides);
    const first = await this.look(picture, size, multiple);
    if (first.side < NEEDS_SECOND) return first.faces;
    const second = await this.look(picture, Math.max(multiple, roundEven(SECOND_LOOK * first.side)), multiple);
    return merged([
      ...first.faces.filter((_, index) => first.sides[index] <= LARGEST),
      ...second.faces.filter((_, index) => second.sides[index] >= SMALLEST),
    ]);
  }

  /** One run of the detector: faces, their longer sides in its input, and the longer side of that. */
  async look(picture, size, multiple) {
    const fit = fitImage(picture, size, multiple);
    const session = this.sessions.detector;
    const input = new this.ort.Tensor("uint8", fit.data, [1, fit.height, fit.width, 3]);
    const rows = (await session.run({ [session.inputNames[0]]: input })).faces.data;
    const faces = decode(rows, fit.height, fit.width, this.cards.detector.strides, this.minScore);
    const sides = faces.map((face) => longer(face.box));
    return { faces: faces.map((face) => moved(face, fit.toPicture)), sides, side: Math.max(fit.width, fit.height) };
  }

  /**
   * Landmarks of faces in boxes.
   *
   * @param {Picture} picture
   * @param {Box[]} boxes
   * @param {number} [passes]  crops per face; from the second on around the points of the one before
   * @returns {Promise<{points: Point[], confidence: number[]|null, face_confidence: number|null}[]>}
   */
  async mark(picture, boxes, passes = this.passes) {
    let marks = await this.markOnce(picture, boxes);
    for (let done = 1; done < passes; done++) {
      const hulls = marks.map((face, index) => {
        const [x1, y1, x2, y2] = faceBox(face.points, this.scheme);
        return Math.min(x2 - x1, y2 - y1) >= 1 ? [x1, y1, x2, y2] : boxes[index];
      });
      marks = await this.markOnce(picture, hulls);
    }
    return marks;
  }

  async markOnce(picture, boxes) {
    const { size, margin } = this.cards.model;
    const session = this.sessions.model;
    const most = session.inputMetadata?.[0]?.shape?.[0] === 1 ? 1 : MAX_BATCH;
    const marks = [];
    for (let first = 0; first < boxes.length; first += most) {
      const squares = boxes.slice(first, first + most).map((box) => cropSquare(box, margin));
      const data = new Uint8Array(squares.length * size * size * 3);
      squares.forEach((square, index) => cropImage(picture, square, size, data, index * size * size * 3));
      const input = new this.ort.Tensor("uint8", data, [squares.length, size, size, 3]);
      const { points, spread } = await session.run({ [session.inputNames[0]]: input });
      squares.forEach((square, index) => marks.push(this.face(points.data, spread?.data, index, square)));
    }
    return marks;
  }

  /** The answer of the model for one crop, in pixels of the picture. */
  face(points, spread, index, [x1, y1, x2]) {
    const { calibration, face_calibration: whole, margin } = this.cards.model;
    const count = this.scheme.count;
    const scale = x2 - x1;
    const at = (number) => index * count + number;
    const places = Array.from({ length: count }, (_, number) => [
      points[2 * at(number)] * scale + x1 - 0.5,
      points[2 * at(number) + 1] * scale + y1 - 0.5,
    ]);
    if (!places.every(([x, y]) => Number.isFinite(x) && Number.isFinite(y))) {
      throw new Error("the landmark model gave a point that is no finite number");
    }
    if (!calibration || !spread) return { points: places, confidence: null, face_confidence: null };
    const tolerance = Math.log(calibration.tolerance / margin);
    const confidence = places.map((_, number) =>
      chance(calibration.slope * (tolerance - spread[at(number)]) + calibration.offset),
    );
    if (!whole) return { points: places, confidence, face_confidence: null };
    const middle = Math.min(Math.max(median(confidence), SURE), 1 - SURE);
    const odds = whole.slope * Math.log(middle / (1 - middle)) + whole.offset;
    return { points: places, confidence, face_confidence: chance(odds) };
  }

  /**
   * Pose and ratios of a face, where its points convert to the 68.
   *
   * @param {Point[]} points
   * @param {Point[]} [measured]  points before smoothing, for the ratios, because smoothing makes blinks shallower
   * @returns {{pose: Pose|null, ratios: Ratios|null}}
   */
  measures(points, measured = points) {
    if (!this.scheme.ibug_68) return { pose: null, ratios: null };
    const [shown, seen] = [points, measured].map((face) => converted(face, this.scheme.ibug_68));
    return { pose: headPose(shown), ratios: ratios(seen) };
  }
}

/** @param {Scheme} scheme */
const hasJawLine = (scheme) => (scheme.groups.jaw ?? []).length >= 5;
const chance = (odds) => 0.5 * (1 + Math.tanh(odds / 2));
const longer = ([x1, y1, x2, y2]) => Math.max(x2 - x1, y2 - y1);
const area = ([x1, y1, x2, y2]) => Math.max(x2 - x1, 0) * Math.max(y2 - y1, 0);
const sharedArea = (a, b) =>
  Math.max(Math.min(a[2], b[2]) - Math.max(a[0], b[0]), 0) * Math.max(Math.min(a[3], b[3]) - Math.max(a[1], b[1]), 0);
const between = (value, low, high) => Math.min(Math.max(value, low), high);
const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);

/** To the nearest integer, a half to the even one, as in Python. */
function roundEven(value) {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 ? floor + 1 : floor;
}

function median(values) {
  const sorted = Float64Array.from(values).sort();
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** @param {Point[]} points @param {(number|number[])[]} rows @returns {Point[]} */
const converted = (points, rows) => rows.map((row) => meanPoint([row].flat().map((index) => points[index])));

/** @param {Point[]} points @returns {Point} */
const meanPoint = (points) => [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);

/** @param {Found} face @param {Affine} map  one that does not turn @returns {Found} */
function moved(face, { x, y }) {
  const to = ([px, py]) => [x[0] * px + x[1] * py + x[2], y[0] * px + y[1] * py + y[2]];
  const corner = (px, py) => to([px - 0.5, py - 0.5]).map((value) => value + 0.5); // box corners are edges
  const [x1, y1, x2, y2] = face.box;
  return { ...face, box: [...corner(x1, y1), ...corner(x2, y2)], points: face.points.map(to) };
}

// Pixels. Pictures have four bytes a pixel; what the networks get has three.

/**
 * The picture at half its size, each pixel the mean of four; an odd last row or column is dropped.
 *
 * @param {Picture} picture
 * @returns {Picture}
 */
export function halve(picture) {
  const [stepX, stepY] = [Math.min(2, picture.width), Math.min(2, picture.height)];
  const [width, height] = [Math.floor(picture.width / stepX), Math.floor(picture.height / stepY)];
  const [from, data] = [picture.data, new Uint8ClampedArray(width * height * 4)];
  const [right, down] = [4 * (stepX - 1), 4 * picture.width * (stepY - 1)];
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0, at = 4 * y * stepY * picture.width; x < width; x++, at += 4 * stepX, to += 4) {
      for (let c = 0; c < 3; c++) {
        data[to + c] = (from[at + c] + from[at + right + c] + from[at + down + c] + from[at + right + down + c] + 2) >> 2;
      }
    }
  }
  return { data, width, height };
}

/** A rectangle of a picture. @returns {Picture} */
function part(picture, left, top, width, height) {
  const data = new Uint8ClampedArray(width * height * 4);
  for (let y = 0; y < height; y++) {
    const start = 4 * ((top + y) * picture.width + left);
    data.set(picture.data.subarray(start, start + 4 * width), 4 * y * width);
  }
  return { data, width, height };
}

/**
 * Resize a picture to a longer side of `size`, then pad it with black on the right and at the bottom.
 *
 * @param {Picture} picture
 * @param {number} size
 * @param {number} multiple  both sides are padded to multiples of this
 * @returns {{data: Uint8Array, width: number, height: number, toPicture: Affine}}
 */
export function fitImage(picture, size, multiple) {
  const scale = Math.min(size / Math.max(picture.height, picture.width), 2);
  const [columns, rows] = [picture.width, picture.height].map((side) => Math.max(1, roundEven(side * scale)));
  let [small, stepX, stepY] = [picture, 1, 1];
  while (Math.max(small.height / rows, small.width / columns) >= 2) {
    [stepX, stepY] = [stepX * Math.min(2, small.width), stepY * Math.min(2, small.height)];
    small = halve(small);
  }
  const [growX, growY] = [(stepX * small.width) / columns, (stepY * small.height) / rows];
  const [width, height] = [columns, rows].map((side) => Math.ceil(side / multiple) * multiple);
  const data = new Uint8Array(width * height * 3);
  resize(small, columns, rows, data, width);
  return { data, width, height, toPicture: { x: [growX, 0, growX / 2 - 0.5], y: [0, growY, growY / 2 - 0.5] } };
}

/**
 * Resize into the first rows and columns of `data`, whose rows have `stride` pixels; bilinear, with the weights of 11 bits
 * and the roundings of OpenCV, so that the networks see the same bytes.
 */
function resize(picture, columns, rows, data, stride) {
  const across = taps(picture.width, columns);
  const down = taps(picture.height, rows);
  const sums = [new Int32Array(3 * columns), new Int32Array(3 * columns)];
  const held = [-1, -1]; // rows of the picture in `sums`
  const summed = (row) => {
    if (held[row & 1] !== row) addAcross(picture, row, across, sums[row & 1]);
    held[row & 1] = row;
    return sums[row & 1];
  };
  for (let y = 0; y < rows; y++) {
    const low = down.low[y];
    const [above, below] = [summed(low), summed(Math.min(low + 1, picture.height - 1))];
    const [first, second] = [down.first[y], down.second[y]];
    for (let i = 0, to = 3 * y * stride; i < 3 * columns; i++, to++) {
      data[to] = (((first * (above[i] >> 4)) >> 16) + ((second * (below[i] >> 4)) >> 16) + 2) >> 2;
    }
  }
}

/** One row of a picture, resized and times 2048. */
function addAcross({ data, width }, row, { low, first, second }, sums) {
  for (let x = 0, to = 0; x < low.length; x++) {
    const left = 4 * (row * width + low[x]);
    const right = low[x] + 1 < width ? left + 4 : left;
    for (let c = 0; c < 3; c++, to++) sums[to] = data[left + c] * first[x] + data[right + c] * second[x];
  }
}

/** For each pixel of a resized side, the first of the two pixels that it lies between, and the weights of both. */
function taps(before, after) {
  const [low, first, second] = [new Int32Array(after), new Int32Array(after), new Int32Array(after)];
  for (let index = 0; index < after; index++) {
    const place = Math.fround(between(((index + 0.5) * before) / after - 0.5, 0, before - 1));
    low[index] = Math.floor(place);
    const share = Math.fround(place - low[index]);
    [first[index], second[index]] = [roundEven(Math.fround(1 - share) * 2048), roundEven(share * 2048)];
  }
  return { low, first, second };
}

/** Square with the centre of a box and `margin` times its longer side. @returns {Box} */
function cropSquare([x1, y1, x2, y2], margin) {
  const [x, y, half] = [(x1 + x2) / 2, (y1 + y2) / 2, (margin * Math.max(x2 - x1, y2 - y1)) / 2];
  return [x - half, y - half, x + half, y + half].map(Math.fround);
}

/**
 * Crop a square and resample it to `size` pixels; black outside the picture. A region more than twice as large is first
 * halved, as often as possible.
 *
 * @param {Picture} picture
 * @param {Box} square
 * @param {number} size
 * @param {Uint8Array} data  gets the RGB bytes, from `to` on
 */
export function cropImage(picture, [x1, y1, x2, y2], size, data, to = 0) {
  const halvings = Math.max(0, Math.ceil(Math.log2((x2 - x1) / (2 * size))));
  let [small, left, top] = [picture, 0, 0];
  const step = 2 ** halvings;
  if (halvings) {
    left = between(Math.floor(x1) - step, 0, picture.width);
    top = between(Math.floor(y1) - step, 0, picture.height);
    const columns = Math.floor((between(Math.ceil(x2) + step, 0, picture.width) - left) / step);
    const rows = Math.floor((between(Math.ceil(y2) + step, 0, picture.height) - top) / step);
    if (columns < 1 || rows < 1) return;
    small = part(picture, left, top, columns * step, rows * step);
    for (let done = 0; done < halvings; done++) small = halve(small);
  }
  warp(small, { x: (x1 - left) / step, y: (y1 - top) / step, scale: (x2 - x1) / size / step }, size, data, to);
}

/**
 * Resample from the edge (x, y) of a picture on, `scale` of its pixels to one; bilinear at 32nds of a pixel, as OpenCV.
 */
function warp(picture, { x: startX, y: startY, scale }, size, data, to) {
  const { data: from, width, height } = picture;
  const places = (start) =>
    Int32Array.from({ length: size }, (_, index) => {
      const fixed = roundEven(index * scale * 1024) + roundEven((scale / 2 + start - 0.5) * 1024);
      return (fixed + 16) >> 5;
    });
  const [across, down] = [places(startX), places(startY)];
  for (let row = 0; row < size; row++) {
    const [above, v] = [down[row] >> 5, down[row] & 31];
    const [a, b] = [above >= 0 && above < height ? 32 - v : 0, above >= -1 && above + 1 < height ? v : 0];
    for (let column = 0; column < size; column++, to += 3) {
      const [left, u] = [across[column] >> 5, across[column] & 31];
      const [l, r] = [left >= 0 && left < width ? 32 - u : 0, left >= -1 && left + 1 < width ? u : 0];
      const first = 4 * (above * width + left);
      const second = first + 4 * width;
      for (let c = 0; c < 3; c++) {
        let sum = 512;
        if (a && l) sum += a * l * from[first + c];
        if (a && r) sum += a * r * from[first + 4 + c];
        if (b && l) sum += b * l * from[second + c];
        if (b && r) sum += b * r * from[second + 4 + c];
        data[to + c] = sum >> 10;
      }
    }
  }
}

/** Positions of tiles along a side, evenly spaced from end to end. */
function tileStarts(side, tile) {
  if (side <= tile) return [0];
  const steps = Math.ceil((side - tile) / Math.max(1, Math.floor(tile * (1 - TILE_OVERLAP))));
  return Array.from({ length: steps + 1 }, (_, index) => roundEven((index * (side - tile)) / steps));
}

/** By which power of two a picture is shrunk so that `MOST_TILES` tiles suffice. */
function automaticShrink(height, width, size) {
  for (let shrink = 2; ; shrink *= 2) {
    const tiles = [height, width].map((side) => tileStarts(Math.floor(side / shrink), size).length);
    if (tiles[0] * tiles[1] <= MOST_TILES) return shrink;
  }
}

// The detector.

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
function distinct(faces, mostWithin) {
  const kept = [];
  for (const face of faces) {
    const own = area(face.box);
    const apart = kept.every((better) => {
      const shared = sharedArea(face.box, better.box);
      const overlaps = shared > MOST_OVERLAP * (own + area(better.box) - shared);
      return !overlaps && (mostWithin >= 1 || shared <= mostWithin * own);
    });
    if (apart) kept.push(face);
  }
  return kept;
}

/** Merge the faces of several views of a picture. @param {Found[]} faces @returns {Found[]} */
function merged(faces) {
  return distinct([...faces].sort((a, b) => b.score - a.score), MOST_WITHIN);
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
  const [xs, ys] = [0, 1].map((axis) => shown.map((point) => point[axis] + 0.5));
  const hull = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
  const side = longer(hull);
  const sides = size ? size.map((share) => share * side) : [hull[2] - hull[0], hull[3] - hull[1]];
  if (!scheme.face_box && Math.min(...sides) >= THIN * side) return hull;
  const [w, h] = sides.map((length) => Math.max(length, THIN * side) / 2);
  const [x, y] = [(hull[0] + hull[2]) / 2 + side * shift[0], (hull[1] + hull[3]) / 2 + side * shift[1]];
  return [x - w, y - h, x + w, y + h];
}

const PARTS = {
  eyes: ["right_eye", "left_eye"], brows: ["right_brow", "left_brow"], mouth: ["outer_mouth", "inner_mouth", "mouth"],
}; // prettier-ignore

/** Indices of a group of a scheme, or of several groups that a part joins. */
const partOf = (scheme, name) => scheme.groups[name] ?? PARTS[name].flatMap((group) => scheme.groups[group] ?? []);

// What the points tell.

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

// Video.

/** Share of the newest value in exponential smoothing. */
const smoothingShare = (cutoffHz, stepS) => 1 / (1 + 1 / (2 * Math.PI * cutoffHz * stepS));

/** The One-Euro filter of canthus.runtime.smoother: little jitter at rest, little lag in motion. */
export class OneEuroFilter {
  constructor({ minCutoffHz = 0.5, beta = 30, derivativeCutoffHz = 4, resetS = 0.5 } = {}) {
    Object.assign(this, { minCutoffHz, beta, derivativeCutoffHz, resetS });
    this.last = null;
  }

  /**
   * Smoothed points of the next frame.
   *
   * @param {Point[]} points
   * @param {number} timeS  later than that of the frame before
   * @param {number} size  of the face, in pixels
   * @returns {Point[]}
   */
  next(points, timeS, size) {
    const last = this.last;
    if (!last || timeS - last.timeS > this.resetS) {
      this.last = { points, velocity: points.map(() => [0, 0]), timeS };
      return points;
    }
    const stepS = timeS - last.timeS;
    const share = smoothingShare(this.derivativeCutoffHz, stepS);
    const velocity = [];
    const smoothed = points.map((point, index) => {
      const [before, speed] = [last.points[index], last.velocity[index]];
      const now = speed.map((v, axis) => v + share * ((point[axis] - before[axis]) / (stepS * size) - v));
      velocity.push(now);
      const weight = smoothingShare(this.minCutoffHz + this.beta * Math.hypot(...now), stepS);
      return before.map((value, axis) => value + weight * (point[axis] - value));
    });
    this.last = { points: smoothed, velocity, timeS };
    return smoothed;
  }
}

/** When to run the detector, and when to give up a face; see canthus.runtime.tracker. */
export const TRACKER_SETTINGS = {
  detectEveryS: 1, searchEveryS: 0.2, unconfirmedS: 5, rememberS: 3, sameOverlap: 0.2, driftOverlap: 0.5,
  smoothing: true, leastPixels: 16, aspect: [0.5, 1.8], eyeDistance: [0.15, 0.95], inside: 0.5, jump: 0.25,
  jumpPerS: 5, growth: 1.4,
}; // prettier-ignore

/** Follows the faces of one video; the detector runs once a second, or more often while a face is looked for. */
export class Tracker {
  /** @param {Pipeline} pipeline @param {Partial<typeof TRACKER_SETTINGS>} [settings] */
  constructor(pipeline, settings = {}) {
    const scheme = pipeline.scheme;
    if (!hasJawLine(scheme) && !pipeline.cards.model.own_scheme) {
      throw new Error(`faces with the points of ${scheme.name} cannot be followed: they have no jaw line`);
    }
    const whole = hasJawLine(scheme) || scheme.face_box || scheme.count === 1;
    this.overlap = whole ? boxOverlap : shareOfSmaller; // the hull of a few points is small within the face
    this.pipeline = pipeline;
    this.settings = { ...TRACKER_SETTINGS, ...settings };
    this.detections = 0;
    this.tracks = [];
    this.lost = [];
    this.nextId = 0;
    this.searchedS = null;
  }

  /**
   * The faces of the next frame, in the order of their numbers.
   *
   * @param {Picture} picture
   * @param {number} timeS  later than that of the frame before
   * @returns {Promise<Frame & {time_s: number}>}
   */
  async next(picture, timeS) {
    await this.follow(picture, timeS);
    const looking = !this.tracks.length || this.lost.some((track) => timeS - track.seenS <= this.settings.rememberS);
    const everyS = looking ? this.settings.searchEveryS : this.settings.detectEveryS;
    if (this.searchedS === null || timeS - this.searchedS >= everyS - 1e-6) await this.search(picture, timeS);
    this.lost = this.lost.filter((track) => timeS - track.seenS <= this.settings.rememberS);
    const tracks = [...this.tracks].sort((a, b) => a.id - b.id);
    const faces = tracks.map((track) => {
      const smoothed = track.filter.next(track.points, timeS, longer(track.box));
      const points = this.settings.smoothing ? smoothed : track.points;
      const { id, box, score, points: measured, confidence, face_confidence } = track;
      const measures = this.pipeline.measures(points, measured);
      return { id, box, score, points, measured, confidence, face_confidence, ...measures };
    });
    return { width: picture.width, height: picture.height, scheme: this.pipeline.scheme, faces, time_s: timeS };
  }

  /** Find the landmarks of the known faces around their last boxes. */
  async follow(picture, timeS) {
    if (!this.tracks.length) return;
    const marks = await this.pipeline.mark(picture, this.tracks.map((track) => track.box), 1);
    const kept = [];
    this.tracks.forEach((track, index) => {
      const mark = marks[index];
      const shift = meanPoint(mark.points).map((value, axis) => value - meanPoint(track.points)[axis]);
      const box = this.boxOf(mark.points, track.box.map((value, side) => value + shift[side % 2]));
      const fits = this.isFace(mark.points, picture) && this.follows(box, track.box, timeS - track.seenS);
      const confirmed = timeS - track.confirmedS <= this.settings.unconfirmedS;
      if (kept.some((other) => this.overlap(box, other.box) > this.settings.driftOverlap)) return;
      if (!fits || !confirmed) this.lost.push(track);
      else kept.push(Object.assign(track, mark, { box, seenS: timeS }));
    });
    this.tracks = kept;
  }

  /** Run the detector: confirm or correct the followed faces, and add new ones. */
  async search(picture, timeS) {
    this.searchedS = timeS;
    this.detections++;
    const found = await this.pipeline.find(picture);
    const taken = await this.confirm(picture, found, timeS);
    const fresh = found.filter((_, index) => !taken.has(index));
    const marks = await this.pipeline.mark(picture, fresh.map((face) => face.box));
    marks.forEach((mark, index) => {
      const box = this.boxOf(mark.points, fresh[index].box);
      const apart = this.tracks.every((track) => this.overlap(box, track.box) <= this.settings.driftOverlap);
      if (this.isFace(mark.points, picture) && apart) this.takeUp(mark, box, fresh[index].score, timeS);
    });
  }

  /** Match detections to followed faces, best overlap first. @returns {Promise<Set<number>>} matched detections */
  async confirm(picture, found, timeS) {
    const pairs = this.tracks.flatMap((track) =>
      found.map((face, index) => ({ track, index, overlap: this.overlap(track.box, face.box) })),
    );
    pairs.sort((a, b) => b.overlap - a.overlap);
    const [taken, matched] = [new Set(), new Set()];
    for (const { track, index, overlap } of pairs) {
      if (overlap <= this.settings.sameOverlap || matched.has(track) || taken.has(index)) continue;
      matched.add(track);
      taken.add(index);
      Object.assign(track, { score: found[index].score, confirmedS: timeS });
      if (overlap >= this.settings.driftOverlap) continue;
      const [mark] = await this.pipeline.mark(picture, [found[index].box]);
      if (this.isFace(mark.points, picture)) {
        Object.assign(track, mark, { box: this.boxOf(mark.points, found[index].box) });
      }
    }
    return taken;
  }

  /** Add a face, with the number of one that was lost here. */
  takeUp(mark, box, score, timeS) {
    const overlaps = this.lost.map((track) => this.overlap(box, track.box));
    const best = overlaps.indexOf(Math.max(...overlaps));
    const again = best >= 0 && overlaps[best] > this.settings.sameOverlap;
    const id = again ? this.lost.splice(best, 1)[0].id : this.nextId++;
    this.tracks.push({ id, ...mark, box, score, seenS: timeS, confirmedS: timeS, filter: new OneEuroFilter() });
  }

  boxOf(points, otherwise) {
    const box = faceBox(points, this.pipeline.scheme);
    return longer(box) > 0 ? box : otherwise;
  }

  /** Whether points have the proportions of a face. */
  isFace(points, { width, height }) {
    const { scheme } = this.pipeline;
    const box = faceBox(points, scheme);
    const [side, w, h] = [longer(box), box[2] - box[0], box[3] - box[1]];
    if (side === 0) return box[0] >= 0 && box[0] <= width && box[1] >= 0 && box[1] <= height;
    if (side < this.settings.leastPixels) return false;
    if (sharedArea(box, [0, 0, width, height]) < this.settings.inside * w * h) return false;
    return this.hasProportions(points, w, h) && mouthBelowEyes(points, scheme);
  }

  hasProportions(points, w, h) {
    const { scheme } = this.pipeline;
    const inside = (value, [low, high]) => value >= low && value <= high;
    if (!hasJawLine(scheme) || scheme.face_box) return true;
    if (!inside(w / Math.max(h, 1e-6), this.settings.aspect)) return false;
    if (!scheme.eye_corners?.length) return true;
    const [right, left] = scheme.eye_corners.map((index) => points[index]);
    return inside(distance(right, left) / Math.max(w, h), this.settings.eyeDistance);
  }

  /** Whether a face can move from one box to another in this time. */
  follows(box, before, stepS) {
    const shift = Math.hypot(box[0] + box[2] - before[0] - before[2], box[1] + box[3] - before[1] - before[3]) / 2;
    const ratio = longer(box) / Math.max(longer(before), 1e-6);
    const grown = Math.max(ratio, 1 / Math.max(ratio, 1e-6));
    const reach = longer(before) * (this.settings.jump + this.settings.jumpPerS * stepS);
    return shift <= reach && grown <= this.settings.growth;
  }
}

function boxOverlap(a, b) {
  const shared = sharedArea(a, b);
  const union = area(a) + area(b) - shared;
  return union > 0 ? shared / union : 0;
}

const shareOfSmaller = (a, b) => sharedArea(a, b) / Math.max(Math.min(area(a), area(b)), 1e-6);

function mouthBelowEyes(points, scheme) {
  const mouth = Object.keys(scheme.groups).filter((name) => name.includes("mouth")).flatMap((name) => scheme.groups[name]); // prettier-ignore
  if (!scheme.pupils?.length || !mouth.length) return true;
  const at = (indices) => meanPoint(indices.map((index) => points[index]));
  const [right, left] = scheme.pupils.map(at);
  const below = at(mouth);
  const [ax, ay] = [left[0] - right[0], left[1] - right[1]];
  return ax * (below[1] - (right[1] + left[1]) / 2) - ay * (below[0] - (right[0] + left[0]) / 2) > 0;
}

const BLINK = { shut: 0.5, reopen: 0.6, dip: 0.12, noise: 6, mostDip: 0.25, leastS: 0.08, mostS: 0.5, closedShare: 0.5 };
const FOLLOW = { openRiseS: 0.5, openFallS: 60, riseS: 0.3, fallS: 1, noiseS: 5, firstNoise: 0.02, learnS: 1 };
const toward = (stepS, timeS) => -Math.expm1(-stepS / timeS);

/**
 * Counts the blinks of one face: quick dips of the openness of its eyes, of 0.08 to 0.5 s and at least two frames.
 * The dip is that of canthus.fatigue; the person's open eye is learned in a second, where fatigue takes four.
 */
export class BlinkCounter {
  constructor() {
    this.count = 0;
    this.open = this.level = this.lastS = null;
    this.noise = FOLLOW.firstNoise;
    this.seenS = 0;
    this.dip = null;
  }

  /** Take in a frame. @param {Ratios} ratios @param {number} timeS @returns {number} blinks so far */
  next({ right_ear: right, left_ear: left }, timeS) {
    if (right === null || left === null) return this.count;
    const [eyes, stepS] = [(right + left) / 2, this.lastS === null ? 0 : timeS - this.lastS];
    if (stepS > 1) this.level = this.dip = null; // the face was away
    this.lastS = timeS;
    this.seenS += stepS;
    this.open ??= eyes;
    if (!this.dip) this.open += (eyes - this.open) * toward(stepS, eyes > this.open ? FOLLOW.openRiseS : FOLLOW.openFallS);
    const value = eyes / this.open;
    const openness = (value - BLINK.closedShare) / (1 - BLINK.closedShare);
    const depth = Math.min(Math.max(BLINK.dip, BLINK.noise * this.noise), BLINK.mostDip);
    const quick = this.level === null ? 1 : 1 - ((1 - BLINK.shut) * (this.level - value)) / depth;
    this.watch(Math.min(openness, quick), timeS);
    if (!this.dip || (timeS - this.dip.startS >= BLINK.mostS && openness > BLINK.reopen)) this.settle(value, stepS);
    return this.count;
  }

  watch(signal, timeS) {
    if (!this.dip) {
      if (signal <= BLINK.shut && this.seenS > FOLLOW.learnS) this.dip = { startS: timeS, frames: 1 };
    } else if (signal <= BLINK.reopen) this.dip.frames++;
    else {
      const lastedS = timeS - this.dip.startS;
      if (this.dip.frames >= 2 && lastedS >= BLINK.leastS && lastedS <= BLINK.mostS) this.count++;
      this.dip = null;
    }
  }

  settle(value, stepS) {
    if (this.level === null) {
      this.level = value;
      return;
    }
    const away = value - this.level;
    this.level += away * toward(stepS, away > 0 ? FOLLOW.riseS : FOLLOW.fallS);
    if (!this.dip) this.noise += (Math.abs(away) - this.noise) * toward(stepS, FOLLOW.noiseS);
  }
}

const rounded = (value, digits) => (value === null ? null : Number(value.toFixed(digits)));

/**
 * The record that `canthus detect --json` or `canthus track --json` writes of a frame.
 *
 * @param {Frame} frame
 * @param {string|null} [image]  name of the picture
 * @returns {Object<string, any>}
 */
export function toRecord(frame, image = null) {
  const points = (values) => values.map((point) => point.map((value) => rounded(value, 2)));
  const each = (values, digits) => Object.fromEntries(Object.entries(values).map(([k, v]) => [k, rounded(v, digits)]));
  const faces = frame.faces.map((face) => ({
    ...(face.id === undefined ? {} : { id: face.id }),
    box: face.box.map((value) => rounded(value, 2)),
    score: rounded(face.score, 4),
    scheme: frame.scheme.name,
    points: points(face.points),
    ...(face.five_points ? { five_points: points(face.five_points) } : {}),
    ...(face.confidence ? { confidence: face.confidence.map((value) => rounded(value, 4)) } : {}),
    ...(face.face_confidence === null ? {} : { face_confidence: rounded(face.face_confidence, 4) }),
    ...(face.pose ? { pose: each(face.pose, 2) } : {}),
    ...(face.ratios ? { ratios: each(face.ratios, 4) } : {}),
  }));
  const about = frame.time_s === undefined ? { image, width: frame.width, height: frame.height } : { time_s: rounded(frame.time_s, 4) };
  return { ...about, faces, schema_version: 1 };
}
