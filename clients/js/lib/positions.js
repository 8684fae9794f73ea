const idsMax = 2000;

/** @param {string} pos @returns {[string, number]} epoch and number */
const parse = pos => {
  const at = pos.indexOf(':'), seq = +pos.slice(at + 1);
  if (at < 1 || !(seq >= 0)) { throw new Error('bad pos'); }
  return [pos.slice(0, at), seq];
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
  // The ids of the last messages. Only what is replayed can come again: until it is there, they are looked up in `seen`.
  /** @type {string[]} */
  const ids = [];
  let seen = new Set(), next = 0;

  const isNew = (/** @type {any} */ id) => {
    if (seen.size && seen.delete(id)) { return false; }
    if (id) { ids[next] = id; next = (next + 1) % idsMax; }
    return true;
  };

  const judge = (/** @type {any} */ { room, missed, got, lost, why }, /** @type {boolean} */ isComplete) => {
    if (isComplete && reports.delete(room)) {
      if (!reports.size) { seen.clear(); }
      emit('resumed', { room, missed, got, lost, why });
    }
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
        const isReset = /^(epoch|future)$/.test(why), from = isReset ? 0 : parse(rooms.get(room) ?? pos)[1];
        if (isReset) { rooms.set(room, epoch + ':0'); }
        if (!recovered) { emit('gap', { room, lost, why }); }
        const missed = isReset ? null : Math.max(0, to - from), expected = to - from - lost;
        const report = { room, missed, got: 0, lost: recovered ? 0 : lost, why, epoch, to, expected };
        if (expected > 0 && !reports.size) { seen = new Set(ids); }
        reports.set(room, report);
        judge(report, expected <= 0);
      }
    },

    /** Notes a message of a WebSocket. @param {any} frame @returns {boolean} whether it is new */
    take({ id, room, pos, also }) {
      if (room === undefined) { return isNew(id); }
      const here = parse(pos), others = Object.entries(also ?? {});
      others.forEach(([, place]) => parse(place));
      const isFresh = isNew(id);
      if (isJoined(room)) { rooms.set(room, pos); }
      count(room, here, true);
      for (const [other, place] of others) {
        // A position in another room counts only if all before it came.
        const there = parse(place);
        if (rooms.get(other) === `${there[0]}:${there[1] - 1}`) { rooms.set(other, place); }
        count(other, there, false);
      }
      return isFresh;
    },

    /** Notes the id line of a stream. @param {string} id @returns {any} what a message has of it */
    takeCursor(id) {
      if (!id.includes('=')) { return { id: id || undefined }; }
      let moved = {};
      for (const [room, pos] of new URLSearchParams(id)) {
        parse(pos);
        if (rooms.get(room) !== pos) { rooms.set(room, pos); moved = { room, pos }; }
      }
      return moved;
    },
  };
};
