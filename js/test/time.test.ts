import { describe, expect, it } from "vitest";

import { endAt, inWords } from "../src/time";

const at = (seconds: number) => endAt(seconds, 0)!;

describe("an end", () => {
  it.each([null, Number.NaN, Number.POSITIVE_INFINITY])("%s has no words", (expiresAt) => {
    expect(endAt(expiresAt, 0)).toBeNull();
  });

  it("today is a time of day", () => {
    const noon = new Date(2030, 5, 1, 12, 0).getTime();

    expect(endAt(noon / 1000 + 3600, noon)!.at).toBe("1:00 PM");
    expect(endAt(noon / 1000 + 86_400, noon)!.at).toBe("Jun 2, 12:00 PM");
  });

  it.each([
    [301, false, false],
    [300, true, false],
    [1, true, false],
    [0, true, true],
    [-5, true, true],
  ])("in %d s: soon %s, over %s", (seconds, soon, over) => {
    expect(at(seconds)).toMatchObject({ soon, over });
  });

  it.each([
    [300, "in 5 min"],
    [241, "in 5 min"],
    [240, "in 4 min"],
    [60, "in less than a minute"],
    [1, "in less than a minute"],
  ])("in %d s is said as %s", (seconds, left) => {
    expect(at(seconds).left).toBe(left);
  });

  it.each([
    [1000, 700_000],
    [300, 60_000],
    [290, 50_000],
    [30, 30_000],
    [1e9, 3_600_000],
  ])("in %d s changes its words in %d ms", (seconds, nextMs) => {
    expect(at(seconds).nextMs).toBe(nextMs);
  });

  it("that is over stays so", () => {
    expect(at(0).nextMs).toBeNull();
  });
});

describe("minutes in words", () => {
  it.each([
    [59, "59 min"],
    [60, "1 h"],
    [61, "1 h 1 min"],
    [47 * 60 + 59, "47 h 59 min"],
    [48 * 60, "2 days"],
  ])("%d", (minutes, words) => {
    expect(inWords(minutes)).toBe(words);
  });
});
