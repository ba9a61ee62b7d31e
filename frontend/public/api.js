// Requests to the API.

const TIMEOUT = 3_000; // ms for a response

/** A request without a usable response. The message is the reason, as the end of a sentence. */
export class RequestError extends Error {}

/** Send a request to the API. Returns the status and the body; throws RequestError without a response. */
export async function fetchJson(path, { controller = new AbortController(), timeout = TIMEOUT, ...options } = {}) {
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
      throw new RequestError("the backend does not answer");
    }
    return { ok: response.ok, status: response.status, retryAfter: response.headers.get("Retry-After"), body: parse(text) };
  } catch (error) {
    if (error instanceof RequestError) throw error;
    if (controller.signal.aborted) throw new RequestError(`no answer within ${timeout / 1000} s`);
    throw new RequestError("the web server does not answer");
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

/** Return the reason in a response other than 2xx, as the end of a sentence. */
export function errorReason({ status, body }) {
  if (body?.detail === "starting") return "the backend is starting";
  return typeof body?.detail === "string" ? body.detail : `the backend answered with status ${status}`;
}
