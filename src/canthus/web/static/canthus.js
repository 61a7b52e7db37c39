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
 * @property {[number, number]|null} upper  `upperLids`, where there are ratios
 *
 * @typedef {{width: number, height: number, scheme: Scheme, faces: Face[]}} Frame
 * @typedef {{points: Point[], confidence: number[]|null, face_confidence: number|null}} Mark  landmarks of one face
 */

import { automaticShrink, decode, distinct, hasJawLine, longer, median, merged, moved, overlap, roundEven, tileStarts } from "./boxes.js";
import { cropTurn, turned, turnedBox } from "./boxes.js";
import { converted, headPose, ratios, upperLids } from "./measures.js";
import { cropImage, cropSquare, fitImage, halve, part } from "./pixels.js";

export { BlinkCounter } from "./blinks.js";
export { decode, faceBox } from "./boxes.js";
export { headPose, ratios, upperLids } from "./measures.js";
export { cropImage, fitImage, halve, readPicture } from "./pixels.js";
export { OneEuroFilter, TRACKER_SETTINGS, Tracker } from "./tracking.js";

const SECOND_LOOK = 0.3; // size of the second view, as a share of the first
const NEEDS_SECOND = 400;
const LARGEST = 240;
const SMALLEST = 48;
const DOUBTED = [0.3, 0.8]; // scores of the faces that get a closer look, the best MOST_DOUBTED of a picture
const MOST_DOUBTED = 32;
const CLOSE_SIDE = 6; // side of a closer look, in longer sides of the face
const CLOSE_SIZE = 256;
const SAME_FACE = 0.35;
const MOST_SHRINK = 2;
const CUT = 0.05;
const MAX_BATCH = 32;
const SURE = 1e-4;
const DOUBTFUL = 0.5;
const DIRECTIONS = 8; // in which doubtful faces are looked at, the best MOST_TRIED of a picture
const MOST_TRIED = 4;
const WEAK_SCORE = DOUBTED[0]; // least score of finds that the landmarks judge
const SURE_SCORE = 0.6; // score from which they are kept whatever the landmarks say
const MOST_WEAK = 8;
const MOST_AGAIN = 2; // weak finds that are looked at in all directions where no better one is called a face
const LOOK_TURN = Math.PI / 4; // of the picture in which the detector looks again
const APART = 0.2; // largest overlap of a weak find with a better one

/**
 * Open a landmark model and a face detector.
 *
 * @param {object} [options]
 * @param {string|URL} [options.base]  folder of `models`, `ort` and `schemes.json`; by default that of this module
 * @param {string|URL|ArrayBuffer} [options.model]  landmark model; by default `models/landmarks.onnx`
 * @param {string|URL|ArrayBuffer} [options.detector]  face detector; by default `models/detector.onnx`
 * @param {"wasm"|"webgpu"} [options.backend]
 * @param {number} [options.threads]  of wasm; more than one needs a page that is cross-origin isolated
 * @param {number} [options.minScore]  least score of a face; by default that of the detector, and in
 *     pictures down to 0.3 where the landmarks say that it is a face; at least 0.6 where they cannot
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

/** Finds the faces of pictures; `loadPipeline` makes it. */
export class Pipeline {
  constructor({ ort, sessions, cards, scheme, about, minScore }) {
    this.scheme = scheme;
    this.cards = cards;
    this.about = about;
    const gives = Boolean(cards.model.calibration && cards.model.face_calibration); // a confidence of the face
    this.judges = minScore == null && gives;
    this.minScore = minScore ?? (gives ? cards.detector.score : Math.max(SURE_SCORE, cards.detector.score));
    this.weakScore = this.judges ? Math.min(WEAK_SCORE, this.minScore) : this.minScore;
    this.sureScore = this.judges ? Math.max(SURE_SCORE, this.minScore) : this.minScore;
    // Points of one's own without a jaw line were trained in crops around themselves.
    this.passes = cards.model.own_scheme && scheme.count > 1 && !hasJawLine(scheme) ? 2 : 1;
    this.ort = ort;
    this.sessions = sessions;
  }

  /**
   * Faces and landmarks of one picture, best first. Finds below the score of the detector are kept where the landmarks
   * say that they are faces.
   *
   * @param {Picture} picture
   * @returns {Promise<Frame>}
   */
  async detect(picture) {
    const all = await this.find(picture, { tiles: true, minScore: this.weakScore });
    const sure = all.filter((face) => face.score >= this.sureScore).length;
    const found = all.slice(0, sure + MOST_WEAK);
    const marks = await this.markFaces(picture, found, sure);
    const faced = [...found.keys()].filter((index) => index < sure || called(marks[index]));
    const apart = distinct(faced.map((index) => found[index]), 1, APART); // prettier-ignore
    let kept = faced.filter((index) => index < sure || apart.includes(found[index]))
      .map((index) => ({ ...found[index], mark: marks[index] }));
    const surest = Math.max(0, ...kept.filter(({ mark }) => called(mark)).map(({ score }) => score));
    const again = found.slice(sure).filter(({ score }) => score > surest).slice(0, MOST_AGAIN);
    if (this.judges) kept = await this.withMore(picture, kept, again, again.length); // in all directions
    if (this.judges && !kept.some(({ mark }) => called(mark))) {
      kept = await this.withMore(picture, kept, await this.turnedLook(picture), 0);
    }
    const faces = kept.map(({ box, score, points, mark }) => ({
      box, score, five_points: points, ...mark, ...this.measures(mark.points),
    })); // prettier-ignore
    return { width: picture.width, height: picture.height, scheme: this.scheme, faces };
  }

  /** The faces with those of other finds that the landmarks call faces, the first `retried` in any direction. */
  async withMore(picture, kept, finds, retried) {
    const judged = finds.slice(0, MOST_WEAK);
    const marks = await this.markFaces(picture, judged, retried);
    const more = judged.map((face, index) => ({ ...face, mark: marks[index] })).filter(({ mark }) => called(mark));
    const faces = distinct(more, 1, APART);
    return merged([...kept.filter(({ box }) => faces.every((face) => overlap(box, face.box) < APART)), ...faces]);
  }

  /**
   * Faces that the detector finds in the picture turned by `LOOK_TURN`, in pixels of the picture. Each box has the sides
   * that it has in the turned picture, about its centre.
   *
   * @param {Picture} picture
   * @returns {Promise<Found[]>}
   */
  async turnedLook(picture) {
    const { width, height } = picture;
    const half = (width + height) / Math.sqrt(8); // of the square that holds all of it
    const size = this.cards.detector.size;
    const side = Math.max(1, Math.min(roundEven(2 * half), size));
    const square = [width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half];
    const crop = new Uint8Array(side * side * 3);
    cropImage(picture, square, side, crop, 0, LOOK_TURN);
    const data = new Uint8ClampedArray(side * side * 4);
    for (let pixel = 0; pixel < side * side; pixel++) data.set(crop.subarray(3 * pixel, 3 * pixel + 3), 4 * pixel);
    const scale = (2 * half) / side;
    const middle = [(width - 1) / 2, (height - 1) / 2];
    const back = ([x, y]) => turned([(x + 0.5) * scale + square[0] - 0.5, (y + 0.5) * scale + square[1] - 0.5], LOOK_TURN, middle);
    return (await this.views({ width: side, height: side, data }, size, this.weakScore)).map((face) => {
      const [x1, y1, x2, y2] = face.box;
      const centre = back([(x1 + x2 - 1) / 2, (y1 + y2 - 1) / 2]).map((value) => value + 0.5);
      const halves = [(x2 - x1) * scale / 2, (y2 - y1) * scale / 2];
      const box = [centre[0] - halves[0], centre[1] - halves[1], centre[0] + halves[0], centre[1] + halves[1]];
      return { ...face, box, points: face.points.map(back) };
    });
  }

  /** Whether the score of a find is sure enough, or the landmarks call it a face. @returns {boolean} */
  isKept(score, mark) {
    return score >= this.sureScore || called(mark);
  }

  /**
   * The faces of the detector, best first.
   *
   * @param {Picture} picture
   * @param {{tiles?: boolean, minScore?: number}} [options]  whether large pictures are also searched in tiles, and the
   *     least score; by default that of the pipeline
   * @returns {Promise<Found[]>}
   */
  async find(picture, { tiles = false, minScore = this.minScore } = {}) {
    const size = this.cards.detector.size;
    const found = await this.views(picture, size, minScore);
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
        for (const face of await this.views(part(level, left, top, wide, high), size, minScore)) {
          const [x1, y1, x2, y2] = face.box;
          const near = CUT * longer(face.box);
          if ([x1, y1, wide - x2, high - y2].some((room, side) => inner[side] && room < near)) continue;
          all.push(moved(moved(face, { x: [1, 0, left], y: [0, 1, top] }), grow));
        }
      }
    }
    return merged(all);
  }

  /** Faces of a picture after a closer look at those that are doubted, best first. @returns {Promise<Found[]>} */
  async views(picture, size, minScore) {
    const faces = await this.closer(picture, await this.wholeViews(picture, size, Math.min(minScore, DOUBTED[0])));
    return faces.filter((face) => face.score >= minScore);
  }

  /** Faces of a picture, and of a second, smaller view that shows the largest faces. @returns {Promise<Found[]>} */
  async wholeViews(picture, size, minScore) {
    const multiple = Math.max(...this.cards.detector.strides);
    const first = await this.look(picture, size, multiple, minScore);
    if (first.side < NEEDS_SECOND) return first.faces;
    const smaller = Math.max(multiple, roundEven(SECOND_LOOK * first.side));
    const second = await this.look(picture, smaller, multiple, minScore);
    return merged([
      ...first.faces.filter((_, index) => first.sides[index] <= LARGEST),
      ...second.faces.filter((_, index) => second.sides[index] >= SMALLEST),
    ]);
  }

  /**
   * The faces of a picture, best first; the log odds of those that are doubted are the mean of two looks, the second
   * turned upright by the five points. Their scores stay at least the lower one of `DOUBTED`, so that the landmarks judge these finds.
   *
   * @param {Picture} picture
   * @param {Found[]} faces  best first
   * @returns {Promise<Found[]>}
   */
  async closer(picture, faces) {
    const multiple = Math.max(...this.cards.detector.strides);
    const side = Math.ceil(CLOSE_SIZE / multiple) * multiple;
    const looked = [...faces];
    const doubted = [...faces.keys()].filter((index) => faces[index].score >= DOUBTED[0] && faces[index].score < DOUBTED[1]);
    for (const index of doubted.slice(0, MOST_DOUBTED)) {
      const face = faces[index];
      const square = cropSquare(face.box, CLOSE_SIDE);
      const data = new Uint8Array(side * side * 3);
      cropImage(picture, square, side, data, 0, cropTurn(face.points));
      const halves = [0, 1].map((axis) => ((face.box[axis + 2] - face.box[axis]) / longer(face.box)) * (side / CLOSE_SIDE / 2));
      const expected = [...halves.map((half) => side / 2 - half), ...halves.map((half) => side / 2 + half)];
      const odds = logit(face.score); // fainter boxes than this cannot lift the score above the lower one of DOUBTED
      const near = await this.run(data, side, side, chance(2 * logit(DOUBTED[0]) - odds));
      const same = near.find((found) => overlap(found.box, expected) > SAME_FACE);
      looked[index] = { ...face, score: same ? Math.max(DOUBTED[0], chance((odds + logit(same.score)) / 2)) : DOUBTED[0] };
    }
    return looked.sort((a, b) => b.score - a.score);
  }

  /** Faces of one view, their longer sides in pixels of the view, and the longer side of that. */
  async look(picture, size, multiple, minScore) {
    const fit = fitImage(picture, size, multiple);
    const faces = await this.run(fit.data, fit.width, fit.height, minScore);
    const sides = faces.map((face) => longer(face.box));
    return { faces: faces.map((face) => moved(face, fit.toPicture)), sides, side: Math.max(fit.width, fit.height) };
  }

  /** Faces of one run of the detector, in pixels of its input. @returns {Promise<Found[]>} */
  async run(data, width, height, minScore) {
    const session = this.sessions.detector;
    const input = new this.ort.Tensor("uint8", data, [1, height, width, 3]);
    const rows = (await session.run({ [session.inputNames[0]]: input })).faces.data;
    return decode(rows, height, width, this.cards.detector.strides, minScore);
  }

  /**
   * Landmarks of detected faces, whatever side they are turned to. A face that is turned by its five points gets a crop that
   * is turned upright. A face that is doubtful then is looked at in all `DIRECTIONS`, and the surest answer is
   * taken if it is not doubtful.
   *
   * @param {Picture} picture
   * @param {Found[]} found
   * @param {number} [retried]  how many faces, from the first on, may be looked at in other directions; by default all
   * @returns {Promise<Mark[]>}
   */
  async markFaces(picture, found, retried = found.length) {
    const boxes = found.map((face) => face.box);
    const turns = found.map((face) => Math.fround(cropTurn(face.points)));
    const marks = await this.mark(picture, boxes, this.passes, turns);
    const chosen = [...found.keys()].slice(0, retried)
      .filter((index) => marks[index].face_confidence !== null && marks[index].face_confidence < DOUBTFUL)
      .slice(0, MOST_TRIED);
    const further = Array.from({ length: DIRECTIONS - 1 }, (_, index) => (2 * Math.PI * (index + 1)) / DIRECTIONS);
    const tried = chosen.flatMap((index) => further.map((turn) => ({ index, turn: Math.fround(turns[index] + Math.fround(turn)) })));
    if (!tried.length) return marks;
    const others = await this.mark(picture, tried.map(({ index }) => boxes[index]), this.passes, tried.map(({ turn }) => turn));
    others.forEach((other, place) => {
      const { index } = tried[place];
      if (other.face_confidence >= DOUBTFUL && other.face_confidence > marks[index].face_confidence) marks[index] = other;
    });
    return marks;
  }

  /**
   * Landmarks of faces in boxes.
   *
   * @param {Picture} picture
   * @param {Box[]} boxes
   * @param {number} [passes]  crops per face; from the second on around the points of the one before
   * @param {number[]} [turns]  of the crops, in radians clockwise on the screen; by default none
   * @returns {Promise<Mark[]>}
   */
  async mark(picture, boxes, passes = this.passes, turns = boxes.map(() => 0)) {
    let marks = await this.markOnce(picture, boxes, turns);
    for (let done = 1; done < passes; done++) {
      const hulls = marks.map((face, index) => {
        const [x1, y1, x2, y2] = turnedBox(face.points, turns[index], this.scheme);
        return Math.min(x2 - x1, y2 - y1) >= 1 ? [x1, y1, x2, y2] : boxes[index];
      });
      marks = await this.markOnce(picture, hulls, turns);
    }
    return marks;
  }

  async markOnce(picture, boxes, turns) {
    const { size, margin } = this.cards.model;
    const session = this.sessions.model;
    const most = session.inputMetadata?.[0]?.shape?.[0] === 1 ? 1 : MAX_BATCH;
    const marks = [];
    for (let first = 0; first < boxes.length; first += most) {
      const squares = boxes.slice(first, first + most).map((box) => cropSquare(box, margin));
      const data = new Uint8Array(squares.length * size * size * 3);
      squares.forEach((square, index) => {
        cropImage(picture, square, size, data, index * size * size * 3, turns[first + index]);
      });
      const input = new this.ort.Tensor("uint8", data, [squares.length, size, size, 3]);
      const { points, spread } = await session.run({ [session.inputNames[0]]: input });
      squares.forEach((square, index) => {
        marks.push(this.face(points.data, spread?.data, index, square, turns[first + index]));
      });
    }
    return marks;
  }

  /** The answer of the model for one crop, in pixels of the picture. */
  face(points, spread, index, [x1, y1, x2, y2], turn) {
    const { calibration, face_calibration: whole, margin } = this.cards.model;
    const count = this.scheme.count;
    const scale = x2 - x1;
    const at = (number) => index * count + number;
    const centre = [(x1 + x2 - 1) / 2, (y1 + y2 - 1) / 2];
    const places = Array.from({ length: count }, (_, number) => {
      const place = [points[2 * at(number)] * scale + x1 - 0.5, points[2 * at(number) + 1] * scale + y1 - 0.5];
      return turn ? turned(place, turn, centre) : place;
    });
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
   * Pose, ratios and upper lids of a face, where its points convert to the 68.
   *
   * @param {Point[]} points
   * @param {Point[]} [measured]  points before smoothing, for the ratios, because smoothing makes blinks shallower
   * @returns {{pose: Pose|null, ratios: Ratios|null, upper: [number, number]|null}}
   */
  measures(points, measured = points) {
    if (!this.scheme.ibug_68) return { pose: null, ratios: null, upper: null };
    const [shown, seen] = [points, measured].map((face) => converted(face, this.scheme.ibug_68));
    return { pose: headPose(shown), ratios: ratios(seen), upper: upperLids(seen) };
  }
}

const called = (mark) => mark.face_confidence !== null && mark.face_confidence >= DOUBTFUL;
const logit = (score) => Math.log(score / (1 - score));
const chance = (odds) => 0.5 * (1 + Math.tanh(odds / 2));
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
