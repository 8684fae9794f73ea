const idsMax = 1000;

/** @param {string} pos @returns {[string, number]} epoch and number */
const parse = pos => {
  const [, epoch, seq] = /^([^:]+):(\d+)$/.exec(pos) ?? [];
  if (!epoch) { throw new Error('bad position'); }
  return [epoch, +seq];
};

/**
 * Where each room stands, what a resumed one still waits for, and which messages came already (docs/protocol.md §7).
 * @param {Record<string, string> | undefined} known @param {(type: 'gap' | 'resumed', value: any) => void} emit
 * @param {(room: string) => boolean} isJoined whether messages of this room come for itself, not for a pattern alone
 */
export const positions = (known, emit, isJoined) => {
  /** @type {Map<string, string>} */
  const rooms = new Map(Object.entries(known ?? {}));
  /** @type {Map<string, any>} */
  const reports = new Map();
  // The ids of the last messages, in two generations: the older one is dropped as a whole.
  let ids = new Set(), older = ids;

  const isNew = (/** @type {any} */ id) => {
    if (!id) { return true; }
    if (ids.has(id) || older.has(id)) { return false; }
    if (ids.size >= idsMax) { older = ids; ids = new Set(); }
    ids.add(id);
    return true;
  };

  const judge = (/** @type {any} */ { room, missed, got, lost, why }, /** @type {boolean} */ isComplete) => {
    if (isComplete && reports.delete(room)) { emit('resumed', { room, missed, got, lost, why }); }
  };

  /** @param {string} room @param {[string, number]} pos @param {boolean} isLast */
  const count = (room, [epoch, seq], isLast) => {
    const report = reports.get(room);
    if (epoch !== report?.epoch) { return; }
    if (seq <= report.to) { report.got++; }
    judge(report, report.got >= report.expected || isLast && seq >= report.to);
  };

  return {
    rooms,
    reports,

    /** As in `Last-Event-ID`. */
    cursor: () => [...rooms].map(([room, pos]) => `${encodeURIComponent(room)}=${pos}`).join('&'),

    /**
     * The answer to a subscribe. Behind a position that was known, messages follow and move it; it begins anew where
     * there was none, or in another epoch.
     * @param {any} data
     */
    joined(data) {
      for (const { room, pos, recovered, why, lost = null } of data?.positions ?? (data?.pos ? [data] : [])) {
        const [epoch, to] = parse(pos);
        if (recovered === undefined) { rooms.set(room, pos); continue; }
        const isReset = why === 'epoch' || why === 'future', from = isReset ? 0 : parse(rooms.get(room) ?? pos)[1];
        if (isReset) { rooms.set(room, epoch + ':0'); }
        if (!recovered) { emit('gap', { room, lost, why }); }
        const missed = isReset ? null : Math.max(0, to - from), expected = to - from - lost;
        const report = { room, missed, got: 0, lost: recovered ? 0 : lost, why, epoch, to, expected };
        reports.set(room, report);
        judge(report, expected <= 0);
      }
    },

    /** Notes a message of a WebSocket. @param {any} frame @returns {boolean} whether it is new */
    take({ id, room, pos, also }) {
      if (room !== undefined) {
        const here = parse(pos);
        const others = Object.entries(also ?? {}).map(([other, place]) => ({ other, place, there: parse(place) }));
        if (isJoined(room)) { rooms.set(room, pos); }
        count(room, here, true);
        for (const { other, place, there } of others) {
          // A position in another room counts only if all before it came.
          if (rooms.get(other) === `${there[0]}:${there[1] - 1}`) { rooms.set(other, place); }
          count(other, there, false);
        }
      }
      return isNew(id);
    },

    /**
     * Notes the id line of a stream.
     * @param {string} id @returns {any} what a message has of it; undefined if it is not new
     */
    takeCursor(id) {
      if (!id.includes('=')) { return isNew(id) ? { id: id || undefined } : undefined; }
      let moved = {};
      for (const [room, pos] of new URLSearchParams(id)) {
        parse(pos);
        if (rooms.get(room) !== pos) { rooms.set(room, pos); moved = { room, pos }; }
      }
      return moved;
    },
  };
};
