/**
 * A refusal or a failure. `code` is one of docs/protocol.md §3, or `timeout`, `connection_lost`, `closed`,
 * `bad_frame`, `needs_socket`; `retry` says that the same may work later.
 */
export class DmbError extends Error {
  /** The status of an HTTP answer. @type {number | undefined} */ status;
  /** How long to wait before the next try, in ms. @type {number | undefined} */ afterMs;

  /** @param {string} code @param {string} [message] @param {boolean} [retry] */
  constructor(code, message = code, retry = false) {
    super(message);
    this.code = code;
    this.retry = retry;
  }
}

/** The error of an ack, of a problem document (RFC 9457) or of the platform. @param {any} error @returns {DmbError} */
export const refusal = error => error instanceof DmbError ? error
  : new DmbError(`${error?.code ?? 'internal'}`, `${error?.message ?? error}`, error?.retry === true);

export const lostError = () => new DmbError('connection_lost', undefined, true);
