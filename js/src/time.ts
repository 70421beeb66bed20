/** Words for the time until `expiresAt` (epoch seconds), and when they change next (ms; null: never). */
export function timeLeft(expiresAt: number | null, nowMs: number): { text: string; nextMs: number | null } {
  if (expiresAt === null || !Number.isFinite(expiresAt)) return { text: "", nextMs: null };
  const left = expiresAt - nowMs / 1000;
  if (left <= 0) return { text: "renews when used", nextMs: null };
  if (left < 120) return { text: `${Math.ceil(left)} s left`, nextMs: 1000 };
  return { text: `${inWords(Math.floor(left / 60))} left`, nextMs: Math.min(20_000, Math.max(1000, (left - 119) * 1000)) };
}

function inWords(minutes: number): string {
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} days`;
}

/** Shows the time left and keeps it fresh, without any traffic. */
export class Countdown {
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly show: (text: string) => void) {}

  start(expiresAt: number | null): void {
    this.stop();
    const { text, nextMs } = timeLeft(expiresAt, Date.now());
    this.show(text);
    if (nextMs !== null) this.timer = setTimeout(() => this.start(expiresAt), nextMs);
  }

  stop(): void {
    clearTimeout(this.timer);
  }
}
