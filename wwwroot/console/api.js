// The broker's HTTP API as the console uses it. The key or token stays in memory: a reload asks for it again.

let secret = '';

export const hasKey = () => secret !== '';
export const setKey = key => { secret = key; };
export const key = () => secret;

// A refusal by the broker (RFC 9457), or `status` 0 where there was no answer.
export class ApiError extends Error {
  constructor(status, code, detail) {
    super(detail);
    Object.assign(this, { status, code });
  }
}

const base = () => location.href.split('#')[0];
export const url = path => new URL(path, base());

async function send(path, { method = 'GET', body, headers = {}, signal } = {}) {
  let answer;
  try {
    answer = await fetch(url(path), {
      method, body, signal, cache: 'no-store',
      headers: { ...headers, ...(secret && { Authorization: `Bearer ${secret}` }) },
    });
  } catch (error) {
    if (signal?.aborted) { throw error; }
    throw new ApiError(0, 'no_answer', `No answer from ${url(path).host}: ${error.message}`);
  }
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new ApiError(answer.status, problem.code ?? '', problem.detail ?? problem.title ?? `HTTP ${answer.status}`);
  }
  return answer;
}

// With `isExact` a number that would be rounded stays as it came, for JSON.stringify.
export const call = async (path, options) => {
  const answer = await send(path, options);
  return answer.status === 204 ? null : JSON.parse(await answer.text(), options?.isExact ? asItCame : undefined);
};

export const asItCame = (_, value, { source } = {}) =>
  typeof value === 'number' && source && String(value) !== source && JSON.rawJSON ? JSON.rawJSON(source) : value;

// A path with a query; parameters without a value are left out.
export function withQuery(path, parameters) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value)).toString();
  return query ? `${path}?${query}` : path;
}

// Reads a stream of server-sent events until it ends, with the key in a header, which EventSource can't send.
export async function stream(path, onEvent, signal, onOpen = () => {}) {
  const answer = await send(path, { headers: { Accept: 'text/event-stream' }, signal });
  onOpen();
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) { return; }
    const blocks = (rest + value).split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = {};
      for (const line of block.split(/\r?\n/)) {
        const at = line.indexOf(':');
        if (at > 0) { fields[line.slice(0, at)] = line.slice(at + 1).replace(/^ /, ''); }
      }
      if (fields.event) { onEvent(fields.event, fields.data ?? ''); }
    }
  }
}
