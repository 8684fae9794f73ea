import { lostError, refusal } from './error.js';

/**
 * A connection over a WebSocket (docs/protocol.md §4).
 * @param {any} WebSocket @param {string} base
 * @param {(read: () => any) => void} take is given what reads a frame; undefined is one that needs no more
 * @param {(why: string, code: number) => void} lost
 */
export const openSocket = (WebSocket, base, take, lost) => {
  /** @type {Map<any, { done: (data: any) => void, fail: (error: Error) => void, apply?: (data: any) => void }>} */
  const acks = new Map(), socket = new WebSocket(base.replace(/^http/, 'ws') + '/ws');
  let last = 0;

  socket.onmessage = (/** @type {any} */ e) => take(() => {
    const frame = JSON.parse(e.data), { ack, ok, data, error } = frame, waiting = acks.get(ack);
    if (ack === undefined) { return frame; }
    acks.delete(ack);
    if (!ok) { waiting?.fail(refusal(error ?? {})); } else if (waiting) { waiting.done(data); waiting.apply?.(data); }
  });
  socket.onclose = (/** @type {any} */ e) => lost(`closed ${e.code}${e.reason && ', ' + e.reason}`, e.code);
  socket.onerror = () => {};

  return {
    /**
     * @param {string} event @param {any} [data]
     * @param {(data: any) => void} [apply] is called before the next frame is read
     * @returns {Promise<any>} the data of the ack
     */
    request: (event, data, apply) => new Promise((done, fail) => {
      acks.set(++last, { done, fail, apply });
      try { socket.send(JSON.stringify({ event, data, ack: last })); } catch { acks.delete(last); fail(lostError()); }
    }),

    /** Ends it without a call of `lost`. */
    close() {
      socket.onmessage = socket.onclose = null;
      socket.close(1000);
      acks.forEach(({ fail }) => fail(lostError()));
    },
  };
};
