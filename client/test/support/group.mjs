// A group of the small server: records are handed to sessions as a worker of Updraft does, as far
// as the tests need it.

export class FakeGroup {
  /** How long a record is a session's, in milliseconds. It is taken back by `expire` only. */
  ackWait = 30_000;
  /** What clients have answered: the verb, the payload and what else they said. */
  answers = [];
  /** Who has left. */
  leavers = 0;
  #records = [];
  #members = [];
  #tokens = 0;

  /** A group by this name. */
  static of(server, name) {
    const group = new FakeGroup();
    server.services.set(name, group);
    return group;
  }

  publish(payload, { key, ...more } = {}) {
    this.#records.push({ event: { payload, key, ...more }, deliveries: 0, holder: undefined });
    this.#handOut();
  }

  /** How many records are not finished. */
  get lag() {
    return this.#records.length;
  }

  /** Takes back what clients have. */
  expire() {
    for (const record of this.#records) this.#takeBack(record);
    this.#handOut();
  }

  /** The first parameters of answers with this verb. */
  answered(verb) {
    return this.answers.filter(([found]) => found === verb).map(([, ...more]) => more);
  }

  subscribe(session, id, collection, credit = 16) {
    this.#members.push({ session, id, collection, credit });
    this.#handOut();
  }

  left(session) {
    if (!this.#members.some((member) => member.session === session)) return;
    this.leavers += 1;
    this.#members = this.#members.filter((member) => member.session !== session);
    for (const record of this.#records)
      if (record.holder?.session === session) this.#takeBack(record);
    this.#handOut();
  }

  /** Ends all subscriptions with an error. */
  end(error) {
    for (const { session, id } of this.#members) session.end(id, error);
    this.#members = [];
    for (const record of this.#records) this.#takeBack(record);
  }

  call(session, verb, [token, ...more]) {
    const record = this.#records.find((it) => it.token === token && it.holder?.session === session);
    this.answers.push([verb, record?.event.payload, ...more]);
    if (!record) throw { error: 'stale', message: 'stale [stale]' };
    if (verb === 'extend') return undefined;
    const { key } = record.event;
    const ofKey = this.#records.filter((it) => key !== undefined && it.event.key === key);
    if (verb === 'ack' && key !== undefined && ofKey[0] !== record)
      throw { error: 'out-of-order', message: 'out of order [out-of-order]' };
    if (verb !== 'ack')
      for (const behind of ofKey.slice(ofKey.indexOf(record))) this.#takeBack(behind);
    if (verb === 'nack') this.#takeBack(record);
    else this.#records = this.#records.filter((it) => it !== record);
    // The answer comes first.
    setImmediate(() => this.#handOut());
    return undefined;
  }

  #takeBack(record) {
    record.holder = undefined;
    record.token = undefined;
  }

  #handOut() {
    for (const record of this.#records.filter(({ holder }) => !holder)) {
      const { key } = record.event;
      const before = this.#records.slice(0, this.#records.indexOf(record));
      const ofKey = before.filter((it) => key !== undefined && it.event.key === key);
      const member = this.#members.find(
        (it) => this.#has(it) < it.credit && ofKey.every(({ holder }) => holder === it),
      );
      if (!member) continue;
      record.holder = member;
      record.token = `token-${(this.#tokens += 1)}`;
      record.deliveries += 1;
      const { token, deliveries } = record;
      const event = {
        token,
        topic: 'orders',
        ...record.event,
        time: Date.now(),
        deliveries,
        generation: this.#tokens,
        ackWait: this.ackWait,
      };
      const { session, collection } = member;
      session.send({ msg: 'changed', collection, id: 'id', fields: { event } });
    }
  }

  #has(member) {
    return this.#records.filter(({ holder }) => holder === member).length;
  }
}
