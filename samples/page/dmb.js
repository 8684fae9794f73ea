// A client of DMB for browsers, without a build step. It stays connected, comes back after a random while when it is not, gets what it
// missed, and hands on each message once. docs/protocol.md §4, §7 and §10 say what goes over the wire.
//
//   const dmb = new Dmb(['ws://localhost:8082/ws'], { rooms: ['support'], onMessage: m => console.log(m.event, m.data) });
//   await dmb.send('call', { from: '15005551234', _in: ['endpoint:1234'] });

const backoffMaxMs = 30000, steadyMs = 10000, idsMax = 2000, retryMs = 1000, renewMs = 30000, watchMs = 1000;

export class Dmb {
  #urls; #options; #socket = null; #bye = null; #attempt = 0; #openedAt = 0; #timer = 0; #renewal = 0; #acks = new Map(); #ack = 0;
  #rooms; #places = new Map(); #ids = new Set(); #ended = false; #heardAt = 0; #askedAt = 0; #limits = {}; #watch = 0;

  // urls: the nodes' /ws; one is taken at random each time.
  // options: rooms; service and user, to be a user of a backend service; token, which is asked for a token at each start and before that one
  // ends, and may be a promise's; and what is called: onMessage({ event, data, id, room, pos }),
  // onGap({ room, lost, why }) for messages that will never come, onState(text, isConnected), onEvent({ event, data }) for what the broker says.
  constructor(urls, options = {}) {
    this.#urls = [urls].flat();
    this.#options = options;
    this.#rooms = new Set(options.rooms);
    queueMicrotask(() => this.#connect());
  }

  // Sends an event; its promise has the ack's data, or fails with the ack's error, or when the connection is lost before it came.
  send(event, data) {
    return new Promise((done, failed) => {
      if (this.#socket?.readyState !== WebSocket.OPEN) { return failed(new Error('not connected')); }
      this.#acks.set(++this.#ack, { done, failed });
      this.#socket.send(JSON.stringify({ event, data, ack: this.#ack }));
    });
  }

  join(room) { this.#rooms.add(room); return this.#subscribe([room]); }

  leave(room) { this.#rooms.delete(room); this.#places.delete(room); return this.send('unsubscribe', room); }

  // Ends it for good.
  close() { this.#ended = true; clearTimeout(this.#timer); clearInterval(this.#watch); clearTimeout(this.#renewal); this.#socket?.close(1000); }

  // Cuts the connection as a bad network would, so that it comes back.
  drop() { this.#socket?.close(); }

  #connect() {
    if (this.#ended) { return; }
    this.#bye = null;
    this.#openedAt = this.#heardAt = Date.now();
    clearInterval(this.#watch);
    this.#watch = setInterval(() => this.#look(), watchMs);
    const socket = this.#socket = new WebSocket(this.#urls[Math.floor(Math.random() * this.#urls.length)]);
    socket.onmessage = e => socket === this.#socket && this.#receive(JSON.parse(e.data));
    socket.onclose = e => socket === this.#socket && this.#closed(e.code, e.reason);
    this.#options.onState?.('connecting', false);
  }

  // A network that goes away without a word leaves a socket open. So it is asked whether it is there when nothing came for ping_s,
  // and given up when nothing came for silent_s.
  #look() {
    const { ping_s = 25, silent_s = 45 } = this.#limits, silentMs = Date.now() - this.#heardAt;
    if (silentMs >= silent_s * 1000) {
      const lost = this.#socket;
      this.#closed(1006, 'the network is silent');
      lost?.close();
    } else if (silentMs >= ping_s * 1000 && this.#askedAt < this.#heardAt) {
      this.#askedAt = Date.now();
      this.send('dmb:ping').catch(() => {});
    }
  }

  #receive({ event, data, ack, ok, error, id, room, pos, also = {} }) {
    this.#heardAt = Date.now();
    if (ack !== undefined) {
      const { done, failed } = this.#acks.get(ack) ?? {};
      this.#acks.delete(ack);
      return ok ? done?.(data) : failed?.(Object.assign(new Error(error.message), error));
    }
    switch (event) {
      case 'welcome': this.#limits = data.limits; this.#resume(); break;
      case 'bye': this.#bye = data; break;
      case 'gap': return this.#options.onGap?.(data);
    }
    if (id === undefined) { return this.#options.onEvent?.({ event, data }); }
    if (room) { this.#places.set(room, pos); }

    // A place in another room counts only if nothing before it is still to come.
    for (const [other, place] of Object.entries(also)) {
      const [epoch, seq] = place.split(':');
      if (this.#places.get(other) === `${epoch}:${seq - 1}`) { this.#places.set(other, place); }
    }
    if (this.#ids.has(id)) { return; }
    this.#ids.add(id);
    if (this.#ids.size > idsMax) { this.#ids.delete(this.#ids.values().next().value); }
    this.#options.onMessage?.({ event, data, id, room, pos });
  }

  #resume() {
    const { service, user, token, onState } = this.#options;
    const entering = token ? this.#enter() : undefined;
    const joining = () => [...(this.#rooms.size ? [this.#subscribe([...this.#rooms])] : []), ...(service ? [this.#serve(service, user)] : [])];
    Promise.resolve(entering).then(() => Promise.all(joining())).then(() => onState?.('connected', true), error => onState?.(error.message, false));
  }

  async #enter() {
    const { expires } = await this.send('auth', { token: await this.#options.token() });
    if (expires) {
      const ms = Math.max(retryMs, new Date(expires) - Date.now() - renewMs);
      this.#renewal = setTimeout(() => this.#enter().catch(error => this.#options.onState?.(error.message, false)), ms);
    }
  }

  #subscribe(rooms) {
    return this.#again('subscribe', () => rooms.map(room => ({ room, since: this.#places.get(room) }))).then(data => this.#joined(data.positions));
  }

  #serve(service, user) {
    const mine = () => Object.fromEntries([`users ${service}`, `user ${service} ${user}`].filter(room => this.#places.has(room)).map(room => [room, this.#places.get(room)]));
    return this.#again('dmb:connect', () => ({ service, user, since: mine() })).then(data => this.#joined(data.positions));
  }

  // What may pass later is asked again: while Redis is away nobody can say what was missed.
  async #again(event, data) {
    for (const socket = this.#socket; ;) {
      try { return await this.send(event, data()); }
      catch (error) { if (!error.retry || socket !== this.#socket) { throw error; } }
      await new Promise(done => setTimeout(done, retryMs * (1 + Math.random())));
    }
  }

  // Behind a place that was known, messages follow and move it; it begins anew where there was none, or in another life of the count.
  #joined(positions = []) {
    for (const { room, pos, recovered, why, lost = null } of positions) {
      const epoch = pos.split(':')[0];
      if (recovered === undefined) { this.#places.set(room, pos); }
      else if (why === 'epoch' || why === 'future') { this.#places.set(room, `${epoch}:0`); }
      if (recovered === false) { this.#options.onGap?.({ room, lost, why }); }
    }
  }

  // Full jitter: all clients of a broker that went away must not come back in the same moment.
  #closed(code, reason) {
    this.#socket = null;
    clearInterval(this.#watch);
    clearTimeout(this.#renewal);
    for (const { failed } of this.#acks.values()) { failed(new Error('the connection was lost')); }
    this.#acks.clear();
    const why = reason ? `closed ${code}, ${reason}` : `closed ${code}`;
    if (this.#ended || this.#bye?.reconnect === false) { return this.#options.onState?.(why, false); }
    this.#attempt = Date.now() - this.#openedAt > steadyMs ? 0 : this.#attempt + 1;
    const ms = (this.#bye?.after_ms ?? 0) + Math.random() * Math.min(backoffMaxMs, 500 * 2 ** this.#attempt);
    this.#timer = setTimeout(() => this.#connect(), ms);
    this.#options.onState?.(`${why}; again in ${(ms / 1000).toFixed(1)} s`, false);
  }
}
