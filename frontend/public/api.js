// Asking the API.

const TIMEOUT = 3_000; // ms that an answer may take

/** Nothing usable came back; the message says why, as the end of a sentence. */
export class NoAnswer extends Error {}

/** Ask the API. Gives back the status and the body; throws NoAnswer when the backend did not speak. */
export async function ask(path, { controller = new AbortController(), timeout = TIMEOUT, ...options } = {}) {
  const timer = setTimeout(() => controller.abort(), timeout);
  try {
    const response = await fetch(`api/${path}`, {
      cache: "no-store",
      ...options,
      headers: { Accept: "application/json", ...options.headers },
      signal: controller.signal,
    });
    const text = await response.text();
    if (response.status === 502 || response.status === 504) {
      throw new NoAnswer("the backend does not answer");
    }
    return { ok: response.ok, status: response.status, retryAfter: response.headers.get("Retry-After"), body: parse(text) };
  } catch (error) {
    if (error instanceof NoAnswer) throw error;
    if (controller.signal.aborted) throw new NoAnswer(`no answer within ${timeout / 1000} s`);
    throw new NoAnswer("the server of this page does not answer");
  } finally {
    clearTimeout(timer);
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** What an answer other than 2xx says is wrong, as the end of a sentence. */
export function complaint({ status, body }) {
  if (body?.detail === "starting") return "the backend is starting";
  return typeof body?.detail === "string" ? body.detail : `the backend answered with status ${status}`;
}
