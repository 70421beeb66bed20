const SOON = 300;
const MAX_NAP = 3_600;

/** When something ends, in words. */
export interface End {
  /** The time of day, with the date if it is not today. */
  at: string;
  /** "in 5 min" */
  left: string;
  /** Within five minutes. */
  soon: boolean;
  over: boolean;
  /** Milliseconds until these words change; null: never. */
  nextMs: number | null;
}

/** The words for `expiresAt` (epoch seconds), or null where that is unknown. */
export function endAt(expiresAt: number | null, nowMs: number): End | null {
  if (expiresAt === null || !Number.isFinite(expiresAt)) return null;
  const left = expiresAt - nowMs / 1000;
  const soon = left <= SOON;
  const nap = soon ? left - (Math.ceil(left / 60) - 1) * 60 : Math.min(left - SOON, MAX_NAP);
  return {
    at: clock(new Date(expiresAt * 1000), new Date(nowMs)),
    left: left <= 60 ? "in less than a minute" : `in ${inWords(Math.ceil(left / 60))}`,
    soon,
    over: left <= 0,
    nextMs: left > 0 ? Math.ceil(nap * 1000) : null,
  };
}

export function inWords(minutes: number): string {
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} days`;
}

function clock(end: Date, now: Date): string {
  const time: Intl.DateTimeFormatOptions = { hour: "numeric", minute: "2-digit" };
  if (end.toDateString() === now.toDateString()) return end.toLocaleTimeString([], time);
  return end.toLocaleString([], { ...time, month: "short", day: "numeric" });
}
