/** A module of ours that came as text, from the same kernel as this one, and is imported as anywidget imports this one. */
export async function load<T>(source: unknown): Promise<T> {
  const url = URL.createObjectURL(new Blob([String(source)], { type: "text/javascript" }));
  try {
    return (await import(url)).default;
  } finally {
    URL.revokeObjectURL(url);
  }
}
