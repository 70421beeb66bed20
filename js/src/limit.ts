/** A time limit within the life of something else. */
export interface Limit {
  /** Aborted when the time has passed, or that life has ended. */
  signal: AbortSignal;
  /** Begin anew with another time. */
  renew(milliseconds: number): void;
  /** Leave no timer and no listener behind. */
  end(): void;
}

export function limit(milliseconds: number, life?: AbortSignal): Limit {
  const own = new AbortController();
  const abort = () => own.abort();
  let timer = setTimeout(abort, milliseconds);
  life?.addEventListener("abort", abort);
  if (life?.aborted) abort();
  return {
    signal: own.signal,
    renew(milliseconds) {
      clearTimeout(timer);
      timer = setTimeout(abort, milliseconds);
    },
    end() {
      clearTimeout(timer);
      life?.removeEventListener("abort", abort);
    },
  };
}
