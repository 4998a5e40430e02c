/**
 * Follows the durable topics of an Updraft server, keeps what it has got, and publishes offline.
 *
 * @packageDocumentation
 */

export { Client, type Loaded } from './client.js';
export type { ClientEvents } from './client-events.js';
export type {
  CloseOptions,
  ConsumeHandler,
  ConsumeOptions,
  Consumer,
  Delivery,
  Signal,
} from './consume/api.js';
export type { Backoff } from './ddp/backoff.js';
export type { HeartbeatTimes } from './ddp/heartbeat.js';
export type { WebSocketClass, WebSocketLike } from './ddp/link.js';
export { type Json, type JsonObject, Typed } from './ejson.js';
export {
  emitter,
  type EmitterOptions,
  type EmitterStates,
  type EventFilter,
  type TopicEmitter,
  type TopicEvent,
} from './emitter.js';
export { type ErrorPlace, UpdraftError } from './errors.js';
export type { Handler } from './events.js';
export { type Codec, type Message, type RecordInfo, recordOf, type Unsent } from './message.js';
export type { Gap, Offset, Policies, Policy, Reset } from './offset.js';
export type { ClientOptions } from './options.js';
export type { PublishOptions } from './publishing.js';
export { IndexedDbStorage } from './storage/indexeddb.js';
export { MemoryStorage } from './storage/memory.js';
export type {
  Outbox,
  OutboxEntry,
  Storage,
  Store,
  StoredChannel,
  StoredRecord,
} from './storage/storage.js';
