/**
 * A message of a room, or of a backend service.
 * @typedef {{ event: string, data: any, id?: string, room?: string, pos?: string }} Message
 *
 * Messages that will not come: `lost` of them, null when the number is unknown.
 * @typedef {{ room: string | null, lost: number | null, why: string }} Gap
 *
 * A room is complete again: of `missed` messages `got` came late and `lost` will not come. `missed` is null when the
 * room's count began anew.
 * @typedef {object} Resumed
 * @property {string} room
 * @property {number | null} missed
 * @property {number} got
 * @property {number | null} lost
 * @property {string} [why]
 *
 * What the client does now, and why; `inMs` is the time to the next try.
 * @typedef {object} State
 * @property {'connecting' | 'connected' | 'waiting' | 'closed'} state
 * @property {'ws' | 'sse'} transport
 * @property {string} why
 * @property {number} [inMs]
 *
 * What a user of a backend service says, or that one came or went.
 * @typedef {object} Uplink
 * @property {string} id
 * @property {'message' | 'connect' | 'disconnect'} type
 * @property {string} bkid
 * @property {string} user
 * @property {string} session
 * @property {any} [data]
 * @property {string} [time]
 * @property {number} [sessions]
 *
 * `event` is what the broker itself says, such as `joined`, `drain` and `backplane`.
 * @typedef {object} Events
 * @property {Message} message
 * @property {Gap} gap
 * @property {Resumed} resumed
 * @property {State} state
 * @property {Uplink} uplink
 * @property {{ event: string, data: any }} event
 * @property {import('./error.js').DmbError} error
 *
 * @typedef {object} Options
 * @property {string[]} [rooms] Rooms to join.
 * @property {Record<string, string>} [positions] Where rooms stood, from `positions` of an earlier client: what came
 *   since is replayed.
 * @property {string} [service] A backend service to join, by its bkid.
 * @property {string} [user] As which of its users.
 * @property {{ name: string, bkid?: string, after?: string }} [backend] Makes this client a backend service; `after` is
 *   the id of the last uplink that it has handled.
 * @property {string | (() => string | Promise<string>)} [token] A token or a key; a function is called at each
 *   connection and before a token ends.
 * @property {'auto' | 'ws' | 'sse'} [transport] `auto` takes server-sent events where no WebSocket can be opened.
 * @property {AbortSignal} [signal] Closes the client.
 * @property {number} [timeoutMs] How long a connection and an answer may take, in ms: 10,000.
 * @property {number} [backoffMs] The base of the exponential backoff, in ms: 500.
 * @property {number} [backoffMaxMs] The longest backoff, in ms: 30,000.
 * @property {any} [WebSocket] The constructor to use in place of the global one.
 * @property {typeof globalThis.fetch} [fetch] The function to use in place of the global one.
 */
export {};
