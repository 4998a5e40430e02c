// What every store has to do. It runs in browsers too, so it uses nothing of Node.

const CHANNEL = 'a channel';

const record = (n) => ({
  position: `p${String(n).padStart(4, '0')}`,
  event: { payload: { n }, time: n },
});
const records = (first, last) =>
  Array.from({ length: last - first + 1 }, (_, index) => record(first + index));

/** Cases by name, each with a function that opens the store, or opens it again. */
export const contract = {
  async what_is_appended_is_loaded_with_its_position(open) {
    const store = await open();
    equal(await store.load(CHANNEL), { records: [], position: undefined });
    equal(await store.append(CHANNEL, records(1, 3), 'p0003'), 3);
    equal(await store.append(CHANNEL, [], 'p0007'), 3);
    equal(await store.append('another', records(1, 1), 'p0001'), 1);
    equal(await store.load(CHANNEL), { records: records(1, 3), position: 'p0007' });
  },

  async what_is_there_already_is_skipped_and_the_position_never_goes_back(open) {
    const store = await open();
    await store.append(CHANNEL, records(1, 3), 'p0003');
    equal(await store.append(CHANNEL, records(2, 5), 'p0005'), 5);
    equal(await store.append(CHANNEL, records(1, 2), 'p0002'), 5);
    equal(await store.load(CHANNEL), { records: records(1, 5), position: 'p0005' });
  },

  async since_a_position_of_the_run_there_is_what_follows_it(open) {
    const store = await open();
    equal(await store.since(CHANNEL, 'p0001'), undefined);
    await store.append(CHANNEL, records(1, 5), 'p0009');
    equal(await store.since(CHANNEL, 'p0003'), { records: records(4, 5), position: 'p0009' });
    equal(await store.since(CHANNEL, 'p0009'), { records: [], position: 'p0009' });
    equal(await store.since(CHANNEL, 'p0000'), undefined);
    equal(await store.since(CHANNEL, 'p0003x'), undefined);
  },

  async clearing_forgets_one_channel_or_all(open) {
    const store = await open();
    for (const channel of ['a', 'b', 'c']) await store.append(channel, records(1, 2), 'p0002');
    await store.clear('a');
    equal(await store.load('a'), { records: [], position: undefined });
    equal((await store.load('b')).records.length, 2);
    equal(await store.append('a', records(1, 1), 'p0001'), 1);
    await store.clear();
    for (const channel of ['a', 'b', 'c'])
      equal(await store.load(channel), { records: [], position: undefined });
  },

  async evicting_drops_the_oldest_and_keeps_the_position(open) {
    const store = await open();
    equal(await store.evict(5), undefined);
    await store.append('few', records(1, 3), 'p0003');
    await store.append('many', records(1, 9), 'p0009');
    equal(await store.evict(4), { channel: 'many', count: 4 });
    equal(await store.load('many'), { records: records(5, 9), position: 'p0009' });
    equal(await store.evict(2, 'few'), { channel: 'few', count: 2 });
    equal(await store.evict(100), { channel: 'many', count: 5 });
    equal(await store.load('many'), { records: [], position: 'p0009' });
    equal(await store.append('many', records(10, 10), 'p0010'), 1);
    equal(await store.evict(5, 'none'), undefined);
  },

  async the_outbox_keeps_its_order_and_one_entry_for_each_id(open) {
    const { outbox } = await open();
    const entry = (id, n) => ({ id, channel: CHANNEL, record: { payload: { n } } });
    for (const id of ['z', 'a', 'm']) await outbox.put(entry(id, 1));
    await outbox.put(entry('z', 2));
    equal(await outbox.list(), [entry('z', 1), entry('a', 1), entry('m', 1)]);
    await outbox.delete('a');
    await outbox.delete('a');
    equal(await outbox.list(), [entry('z', 1), entry('m', 1)]);
  },

  async what_was_written_is_there_when_it_is_opened_again(open) {
    const store = await open();
    if (!store.isPersistent) return;
    await store.append(CHANNEL, records(1, 3), 'p0005');
    await store.outbox.put({ id: 'x', channel: CHANNEL, record: {} });
    await store.evict(1, CHANNEL);
    await store.close();
    const again = await open();
    equal(again.wasCleared, false);
    equal(await again.load(CHANNEL), { records: records(2, 3), position: 'p0005' });
    equal((await again.outbox.list()).length, 1);
  },
};

function equal(found, expected) {
  const [left, right] = [found, expected].map(
    (value) => JSON.stringify(value, sorted) ?? 'undefined',
  );
  if (left !== right) throw new Error(`expected ${right}, got ${left}`);
}

function sorted(_name, value) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
