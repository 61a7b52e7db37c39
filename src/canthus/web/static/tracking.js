/**
 * Faces of a video: followed from frame to frame, numbered and smoothed.
 *
 * @typedef {import("./canthus.js").Box} Box
 * @typedef {import("./canthus.js").Frame} Frame
 * @typedef {import("./canthus.js").Picture} Picture
 * @typedef {import("./canthus.js").Pipeline} Pipeline
 * @typedef {import("./canthus.js").Point} Point
 */
import { area, distance, faceBox, hasJawLine, keptTurn, longer, meanPoint, mouthOf, sharedArea, turnedBox } from "./boxes.js";

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
    const { scheme } = this.pipeline;
    for (const track of this.tracks) track.turn = keptTurn(track.points, scheme, track.turn);
    const turns = this.tracks.map((track) => track.turn);
    const boxes = this.tracks.map((track) => (track.turn ? turnedBox(track.points, track.turn, scheme) : track.box));
    const marks = await this.pipeline.mark(picture, boxes, 1, turns);
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
    const marks = await this.pipeline.markFaces(picture, fresh);
    marks.forEach((mark, index) => {
      const box = this.boxOf(mark.points, fresh[index].box);
      const apart = this.tracks.every((track) => this.overlap(box, track.box) <= this.settings.driftOverlap);
      const kept = this.pipeline.isKept(fresh[index].score, mark) && this.isFace(mark.points, picture);
      if (kept && apart) this.takeUp(mark, box, fresh[index].score, timeS);
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
      const [mark] = await this.pipeline.markFaces(picture, [found[index]]);
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
    this.tracks.push({ id, ...mark, box, score, seenS: timeS, confirmedS: timeS, turn: 0, filter: new OneEuroFilter() });
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
  const mouth = mouthOf(scheme);
  if (!scheme.pupils?.length || !mouth.length) return true;
  const at = (indices) => meanPoint(indices.map((index) => points[index]));
  const [right, left] = scheme.pupils.map(at);
  const below = at(mouth);
  const [ax, ay] = [left[0] - right[0], left[1] - right[1]];
  return ax * (below[1] - (right[1] + left[1]) / 2) - ay * (below[0] - (right[0] + left[0]) / 2) > 0;
}
