import { DmbError } from './error.js';

/**
 * Requests to one node.
 * @param {{ base: string, token: string }} node its URL, and what to show it now
 * @param {typeof globalThis.fetch} [fetch]
 */
export const http = (node, fetch) => {
  /**
   * The response, when its status is 200 to 299.
   * @param {string} path @param {RequestInit} [init] @returns {Promise<Response>} @throws {DmbError}
   */
  const open = async (path, init = {}) => {
    const headers = { ...init.headers, ...node.token && { Authorization: 'Bearer ' + node.token } };
    const response = await (fetch ?? globalThis.fetch)(node.base + path, { ...init, headers });
    if (response.ok) { return response; }
    const { status } = response, { code = 'internal', detail } = await response.json().catch(() => 0) || {};
    const error = new DmbError(code, detail ?? `HTTP ${status}`, status === 429 || status === 503);
    error.status = status;
    error.afterMs = 1000 * +(response.headers.get('Retry-After') ?? 0);
    throw error;
  };

  /** The body of the answer. @param {string} path @param {any} [body] of a POST @returns {Promise<any>} */
  const call = async (path, body) =>
    (await open(path, body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) })).json();

  return { open, call };
};
