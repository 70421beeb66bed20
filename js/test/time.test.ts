import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { Countdown, timeLeft } from "../src/time";

const at = (seconds: number) => timeLeft(seconds, 0);

describe("time left", () => {
  it.each([
    [1, "1 s left"],
    [0.2, "1 s left"],
    [119, "119 s left"],
    [120, "2 min left"],
    [3599, "59 min left"],
    [3600, "1 h left"],
    [3660 + 59, "1 h 1 min left"],
    [48 * 3600 - 1, "47 h 59 min left"],
    [48 * 3600, "2 days left"],
  ])("says %d s as %s", (seconds, text) => {
    expect(at(seconds).text).toBe(text);
  });

  it("says what happens when the time is over, and stops", () => {
    expect(at(0)).toEqual({ text: "renews when used", nextMs: null });
    expect(at(-5)).toEqual({ text: "renews when used", nextMs: null });
  });

  it.each([null, Number.NaN, Number.POSITIVE_INFINITY])("says nothing about %s", (unknown) => {
    expect(timeLeft(unknown, 0)).toEqual({ text: "", nextMs: null });
  });

  it("ticks each second at the end and every 20 s before", () => {
    expect(at(60).nextMs).toBe(1000);
    expect(at(125).nextMs).toBe(6000);
    expect(at(3000).nextMs).toBe(20_000);
  });
});

describe("countdown", () => {
  beforeEach(() => void vi.useFakeTimers({ now: 0 }));
  afterEach(() => void vi.useRealTimers());

  it("never shows more often than once a second and ends by itself", () => {
    const show = vi.fn();

    new Countdown(show).start(130);
    vi.advanceTimersByTime(200_000);

    expect(show.mock.lastCall).toEqual(["renews when used"]);
    expect(show.mock.calls.length).toBeLessThan(130);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("has one timer, also when it is started again", () => {
    const countdown = new Countdown(() => {});

    countdown.start(100);
    countdown.start(100);
    expect(vi.getTimerCount()).toBe(1);

    countdown.stop();
    expect(vi.getTimerCount()).toBe(0);
  });
});
