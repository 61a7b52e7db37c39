/**
 * Blinks of a video, counted by the rules of canthus.fatigue (its modules `person` and `blinks`).
 *
 * @typedef {import("./canthus.js").Ratios} Ratios
 * @typedef {{startS: number, endS: number, lowest: number, begun: boolean}} Span  a time during which a signal was low
 */
import { median } from "./boxes.js";

const LEARN_S = 4; // time in which the person's open eyes are learned
const OPEN = { quantile: 0.6, riseS: 15, fallS: 60, least: 0.75 }; // level of the open eye, and openness that it adapts to
const SHUT = { share: 0.5, closingS: 0.2, fewBlinks: 0.4, known: 5, kept: 15, most: 0.75, room: 0.05 }; // ratio of the shut eye
const DIP = { enter: 0.5, leave: 0.6, least: 0.12, noise: 6, most: 0.25, leastS: 0.08, mostS: 0.5, deep: 0.7, slowS: 0.1 };
const NOTCH = { beforeS: 0.25, afterS: 0.3, unrestS: 1, stepS: 0.1, share: 0.75, mostS: 0.35, from: 0.12, to: 0.45, oneFrame: 0.8, low: 0.8 };
const LEVEL = { riseS: 0.3, fallS: 1, noiseS: 5, firstNoise: 0.02 };
const SLEEP = { deep: 0.15, leastDeep: 0.5, range: 0.4, leastRange: 0.5, evidence: 0.6 }; // shut eyes that do not blink
const DISAGREEMENT = 0.8; // difference in openness of the two eyes beyond which they are not judged
const LONGEST_STEP_S = 0.5; // frames further apart are not one signal
const EARLY_S = 20; // frames kept at most while the open eyes are learned

const share = (stepS, timeS) => -Math.expm1(-stepS / timeS);

/**
 * Counts the blinks of one face, as `canthus fatigue` does for a person who looks into the camera without dark glasses. Eyes
 * that are hidden, and lids that are low in laughing and reading, are told apart only there. The open eyes are learned in the
 * first four seconds, whose blinks are counted when they have passed.
 */
export class BlinkCounter {
  constructor() {
    this.count = 0;
    this.eyes = [new OpenEye(), new OpenEye()];
    this.shutShare = SHUT.share;
    this.depths = []; // lowest ratios of the last blinks
    this.lids = new Lids();
    this.early = [];
    this.lastS = null;
  }

  /**
   * Take in a frame.
   *
   * @param {Ratios|null} ratios  null where the face is not seen
   * @param {number} timeS  later than that of the frame before
   * @param {[number, number]|null} [upper]  `upperLids` of the right and left eye; null to go by the ratios alone
   * @returns {number} blinks so far
   */
  next(ratios, timeS, upper = null) {
    const stepS = this.lastS === null ? 0 : timeS - this.lastS;
    this.lastS = timeS;
    const seen = ratios && ratios.right_ear !== null && ratios.left_ear !== null ? [ratios.right_ear, ratios.left_ear] : null;
    let found = stepS > LONGEST_STEP_S ? this.lids.interrupt() : 0;
    const known = this.known;
    if (seen) this.learn(seen, Math.min(stepS, LONGEST_STEP_S));
    if (!this.known) {
      this.early.push({ seen, timeS, upper });
      while (timeS - this.early[0].timeS > EARLY_S) this.early.shift();
    } else if (!known) {
      for (const frame of this.early) found += this.judge(frame.seen, frame.timeS, frame.upper);
      this.early = [];
    }
    if (this.known) found += this.judge(seen, timeS, upper);
    this.depths = [...this.depths, ...this.lids.blinkRatios].slice(-SHUT.kept);
    this.lids.blinkRatios = [];
    this.count += found;
    return this.count;
  }

  get known() {
    return this.eyes[0].level !== null;
  }

  /** Learn the open eyes, and how far they are seen to shut. */
  learn(seen, stepS) {
    if (stepS <= 0) return;
    const openness = this.known ? this.openness(this.ratio(seen)) : null;
    this.eyes.forEach((eye, side) => {
      if (openness === null || openness > OPEN.least) eye.update(seen[side], stepS);
    });
    if (openness !== null && openness < 0) {
      this.shutShare += (this.ratio(seen) - this.shutShare) * share(stepS, SHUT.closingS);
    }
  }

  /** Ratio of both eyes over those of the open ones. */
  ratio(seen) {
    return (seen[0] / this.eyes[0].level + seen[1] / this.eyes[1].level) / 2;
  }

  /** Ratio of the shut eye, as blinks show it. */
  get shutRatio() {
    return Math.min(median([...this.depths, Math.min(this.shutShare, SHUT.fewBlinks)]), SHUT.most);
  }

  /** Of a ratio: 1 for open, 0 for shut. */
  openness(ratio) {
    const shut = this.depths.length >= SHUT.known ? Math.max(this.shutShare, this.shutRatio - SHUT.room) : this.shutShare;
    return (ratio - shut) / (1 - shut);
  }

  /** Blinks that end with a frame. */
  judge(seen, timeS, upper) {
    if (!seen) return this.lids.interrupt();
    const [right, left] = seen.map((value, side) => this.openness(value / this.eyes[side].level));
    if (Math.abs(right - left) > DISAGREEMENT) return this.lids.unjudged(timeS);
    const [ratio, shut] = [this.ratio(seen), this.shutRatio];
    const openness = Math.min(Math.max(this.openness(ratio), 0), 1.5);
    return this.lids.update(timeS, ratio, openness, (ratio - shut) / (1 - shut), upper ? this.ratio(upper) : ratio, 1 - shut);
  }
}

/** Ratio of one open eye: a quantile of the first seconds, which then follows slowly. */
class OpenEye {
  constructor() {
    this.level = null;
    this.seen = [];
    this.seenS = 0;
  }

  update(value, stepS) {
    if (this.level !== null) {
      this.level += (value - this.level) * share(stepS, value > this.level ? OPEN.riseS : OPEN.fallS);
      return;
    }
    this.seen.push({ value, stepS });
    this.seenS += stepS;
    if (this.seenS < LEARN_S - 1e-9) return;
    let passedS = 0;
    this.seen.sort((a, b) => a.value - b.value);
    this.level = this.seen.find((one) => (passedS += one.stepS) >= OPEN.quantile * this.seenS)?.value ?? this.seen.at(-1).value;
    this.seen = [];
  }
}

/**
 * Finds notches: quick falls of the lids, from whatever level, and their rise.
 *
 * @typedef {{timeS: number, value: number, closing: number}} Lid  closing: 0 where the person's blinks end, 1 for open eyes
 * @typedef {{startS: number, endS: number, depth: number, before: number, after: number, lowest: number,
 *   unrest: number, frames: number}} Notch
 */
class Notches {
  constructor() {
    this.past = [];
    this.judgedS = -Infinity;
  }

  /** @returns {Notch[]} notches whose lowest frame lies `NOTCH.afterS` before a frame */
  update(timeS, value, closing) {
    const past = this.past;
    past.push({ timeS, value, closing });
    while (past[0].timeS < timeS - NOTCH.afterS - NOTCH.beforeS - NOTCH.unrestS - NOTCH.stepS) past.shift();
    const due = past.flatMap((row, i) => (this.judgedS < row.timeS && row.timeS <= timeS - NOTCH.afterS ? [i] : []));
    if (due.length) this.judgedS = past[due.at(-1)].timeS;
    return due.map((at) => this.notch(at)).filter(Boolean);
  }

  /** @returns {Notch|null} the notch whose lowest frame has a number */
  notch(at) {
    const past = this.past;
    const low = past[at];
    let [first, last] = [at, at];
    while (first > 0 && past[first - 1].value > low.value && low.timeS - past[first - 1].timeS <= NOTCH.beforeS) first--;
    while (last + 1 < past.length && past[last + 1].value >= low.value && past[last + 1].timeS - low.timeS <= NOTCH.afterS) last++;
    if (first === at || last === at) return null;
    const highest = (rows) => rows.reduce((best, row) => (row.value > best.value ? row : best));
    const [high, end] = [highest(past.slice(first, at).reverse()), highest(past.slice(at + 1, last + 1))];
    const depth = Math.min(high.value, end.value) - low.value;
    if (depth <= 0) return null;
    const half = low.value + depth / 2;
    const passes = (step) => {
      let i = at + step;
      while (past[i].value < half) i += step;
      return crossing(past[i - step], past[i], half);
    };
    const startS = passes(-1);
    const inside = past.filter((row) => high.timeS <= row.timeS && row.timeS <= end.timeS);
    const frames = inside.filter((row) => row.value < low.value + NOTCH.oneFrame * depth).length;
    const [before, after, lowest] = [high, end, low].map(({ closing }) => closing);
    return { startS, endS: passes(1), depth, before, after, lowest, unrest: this.unrest(startS), frames };
  }

  /** Median change of the ratio within a tenth of a second, in the second before a notch. */
  unrest(startS) {
    const inside = ({ timeS }) => startS - NOTCH.unrestS <= timeS && timeS < startS - NOTCH.stepS / 2;
    const rows = this.past.filter(inside);
    if (rows.length < 3) return 0;
    const apart = Math.max(1, Math.round(NOTCH.stepS / median(rows.slice(1).map((row, i) => row.timeS - rows[i].timeS))));
    const changes = rows.slice(apart).map((row, i) => Math.abs(row.value - rows[i].value));
    return changes.length ? median(changes) : 0;
  }

  interrupt() {
    this.past = [];
  }
}

/** How much eyes that are shut look like sleep, by their lids alone. */
class Sleep {
  constructor() {
    this.shut = new LowSpans();
    this.begin(null);
  }

  begin(startS) {
    [this.startS, this.lastS, this.seenS, this.sum] = [startS, startS, 0, 0];
  }

  update(timeS, openness, closing, range) {
    this.shut.update(timeS, openness);
    if (this.shut.startS !== this.startS) this.begin(this.shut.startS);
    if (this.startS === null) return;
    const deep = Math.min(Math.max((SLEEP.leastDeep - closing) / (SLEEP.leastDeep - SLEEP.deep), 0), 1);
    this.seenS += timeS - this.lastS;
    this.sum += (timeS - this.lastS) * deep * Math.min(Math.max(range / SLEEP.range, SLEEP.leastRange), 1);
    this.lastS = timeS;
  }

  /** Whether the person sleeps, and has since before then. */
  lasts(timeS) {
    return this.startS !== null && this.startS < timeS && this.seenS > 0 && this.sum / this.seenS >= SLEEP.evidence;
  }

  interrupt() {
    this.shut.interrupt();
    this.begin(null);
  }
}

/** Finds dips of the lids, and which of them are blinks. */
class Lids {
  constructor() {
    this.dips = new LowSpans();
    this.notches = new Notches();
    this.sleep = new Sleep();
    this.held = []; // notches that stand out
    this.shallow = null; // the last dip that is a blink if a notch stands out in it
    this.blinkRatios = []; // lowest ratios of the blinks of open eyes
    this.level = null; // from which the depth of a quick dip is measured
    this.noise = LEVEL.firstNoise;
    this.leastRatio = Infinity;
    this.stepS = 0;
    this.last = null;
    this.blink = { startS: -Infinity, endS: -Infinity }; // of the last dip that is one
    this.begin();
  }

  begin() {
    this.frames = this.speed = 0;
    this.leastOpenness = Infinity;
  }

  /** Blinks that end with a frame. */
  update(timeS, ratio, openness, closing, upper, range) {
    this.sleep.update(timeS, openness, closing, range);
    this.held.push(...this.notches.update(timeS, upper, closing).filter((notch) => this.standsOut(notch)));
    this.stepS = this.last ? timeS - this.last.timeS : Infinity;
    const blinks = this.blinks(this.dips.update(timeS, Math.min(openness, this.quick(ratio))));
    if (this.dips.startS !== null) {
      this.leastRatio = this.frames ? Math.min(this.leastRatio, ratio) : ratio;
      this.frames++;
      this.leastOpenness = Math.min(this.leastOpenness, openness);
      if (this.last) this.speed = Math.max(this.speed, (this.last.ratio - ratio) / this.stepS);
    }
    this.follow(timeS, ratio, openness);
    return blinks + this.decided(timeS);
  }

  /** Blinks that end where the eyes cannot be judged in a frame. */
  unjudged(timeS) {
    this.notches.interrupt();
    this.sleep.interrupt();
    this.level = this.last = null;
    return this.blinks(this.dips.interrupt()) + this.decided(timeS);
  }

  /** End what lasts at its last frame, because the face is lost. */
  interrupt() {
    this.notches.interrupt();
    this.sleep.interrupt();
    this.held = [];
    this.level = this.last = null;
    return this.blinks(this.dips.interrupt());
  }

  /** Notches that are blinks, now that the dip is over or long. */
  decided(timeS) {
    const sinceS = this.dips.startS;
    if (sinceS !== null && timeS - sinceS <= DIP.mostS) return 0;
    const found = this.held.map((notch) => this.blinkOf(notch));
    this.held = [];
    return found.filter((blink) => blink && !this.sleep.lasts(blink.startS - DIP.mostS)).length;
  }

  /** The blink that a notch shows, if it is not known already: a shallow dip, or one of low lids. @param {Notch} notch */
  blinkOf(notch) {
    const overlaps = ({ startS, endS }) => notch.startS < endS && notch.endS > startS;
    if (overlaps(this.blink)) return null;
    if (!this.shallow || !overlaps(this.shallow)) return notch.lowest <= NOTCH.to ? notch : null;
    this.blink = this.shallow;
    this.blinkRatios.push(this.shallow.ratio);
    return this.shallow;
  }

  /** @param {Notch} notch */
  standsOut({ startS, endS, depth, before, after, unrest, frames }) {
    const lengthS = endS - startS;
    const lasts = (frames > 1 || before < NOTCH.low) && lengthS >= DIP.leastS / 2 && lengthS <= NOTCH.mostS;
    return lasts && Math.min(before, after) >= NOTCH.from && depth >= NOTCH.share * DIP.least + unrest;
  }

  /** Fall below the level, scaled so that the smallest fall of a blink gives `DIP.enter`. */
  quick(ratio) {
    if (this.level === null) return Infinity;
    return 1 - ((1 - DIP.enter) * (this.level - ratio)) / this.leastFall;
  }

  /** Smallest fall of a blink. */
  get leastFall() {
    return Math.min(Math.max(DIP.least, DIP.noise * this.noise), DIP.most);
  }

  /** Update level and noise, except during a blink or with shut eyes. */
  follow(timeS, ratio, openness) {
    const stepS = this.last ? timeS - this.last.timeS : 0;
    this.last = { timeS, ratio };
    const sinceS = this.dips.startS;
    if (sinceS !== null && (timeS - sinceS < DIP.mostS || openness <= DIP.leave)) return;
    if (this.level === null) {
      this.level = ratio;
      return;
    }
    const away = ratio - this.level;
    this.level += away * share(stepS, away > 0 ? LEVEL.riseS : LEVEL.fallS);
    if (sinceS === null) this.noise += (Math.abs(away) - this.noise) * share(stepS, LEVEL.noiseS);
  }

  /** 1 if a dip that ended is a blink, else 0. @param {Span|null} dip */
  blinks(dip) {
    if (!dip) return 0;
    const { frames, speed } = this;
    const depth = depthOf(this.leastOpenness);
    const fallS = speed > 0 ? (this.level - this.leastRatio) / speed : 0;
    const lengthS = dip.endS - dip.startS;
    this.begin();
    if (lengthS > DIP.mostS || frames < 2 || lengthS < DIP.leastS || !dip.begun) return 0;
    // A fall lasts at least as long as two frames are apart.
    const slow = fallS > Math.max(DIP.slowS, 2.1 * this.stepS) || lengthS > NOTCH.mostS;
    if (depth < DIP.deep) {
      this.shallow = slow ? null : { startS: dip.startS, endS: dip.endS, ratio: this.leastRatio };
      return 0;
    }
    this.blink = dip;
    this.blinkRatios.push(this.leastRatio);
    return 1;
  }
}

const depthOf = (lowest) => Math.min(Math.max(1 - lowest, 0), 1);

/** Spans that begin when a signal falls to `DIP.enter` and end when it rises above `DIP.leave`, between its samples. */
class LowSpans {
  constructor() {
    this.last = this.startS = null;
    this.lowest = Infinity;
    this.begun = true;
  }

  /** @returns {Span|null} the span that ended */
  update(timeS, value) {
    const [last, sample] = [this.last, { timeS, value }];
    this.last = sample;
    if (this.startS === null) {
      if (value <= DIP.enter) [this.startS, this.lowest, this.begun] = [crossing(last, sample, DIP.enter), value, last !== null];
      return null;
    }
    if (value <= DIP.leave) {
      this.lowest = Math.min(this.lowest, value);
      return null;
    }
    const span = { startS: this.startS, endS: crossing(last, sample, DIP.leave), lowest: this.lowest, begun: this.begun };
    this.startS = null;
    return span;
  }

  /** @returns {Span|null} the span that lasted, up to its last sample */
  interrupt() {
    const { last, startS, lowest, begun } = this;
    this.last = this.startS = null;
    return last && startS !== null ? { startS, endS: last.timeS, lowest, begun } : null;
  }
}

/** Time at which the line between two samples crosses a level. */
function crossing(before, after, level) {
  if (!before || before.value === after.value) return after.timeS;
  const part = (level - before.value) / (after.value - before.value);
  return before.timeS + Math.min(Math.max(part, 0), 1) * (after.timeS - before.timeS);
}
