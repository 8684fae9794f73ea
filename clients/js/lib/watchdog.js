/**
 * Finds out that a network went away without a word: the pings of the protocol are invisible here. So when nothing came
 * for `pingMs` an answer is asked for, and when nothing came for `silentMs` the connection is taken for dead.
 * @param {number} pingMs @param {number} silentMs @param {() => void} send asks @param {() => void} lost
 */
export const watchdog = (pingMs, silentMs, send, lost) => {
  /** @type {any} */
  let timer;
  let heardAt = performance.now(), askedAt = 0;

  const look = () => {
    clearTimeout(timer);
    const left = (askedAt ? askedAt + silentMs - pingMs : heardAt + pingMs) - performance.now();
    if (left > 0) { timer = setTimeout(look, left); } else if (askedAt) { lost(); } else { ask(); }
  };
  /** Asks for an answer now. */
  const ask = () => { askedAt ||= performance.now(); send(); look(); };

  look();
  return {
    ask,
    /** Something came. */
    heard() { heardAt = performance.now(); askedAt = 0; },
    stop: () => clearTimeout(timer),
  };
};
