// The client in Chromium: IndexedDB, tabs, and a network that is gone.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';

import { testInBrowser } from './support/browser.mjs';
import { contract } from './support/store-contract.mjs';
import { range, seeded, until } from './support/world.mjs';

const TOPIC = 'orders';

testInBrowser('indexeddb_does_what_every_store_does', async ({ open }) => {
  const page = await open();
  for (const name of Object.keys(contract)) {
    await page.do(async (name) => {
      const [{ contract }, { IndexedDbStorage }] = await Promise.all([
        import('/store-contract.mjs'),
        import('/updraft-client.js'),
      ]);
      await contract[name](() => new IndexedDbStorage().open(`contract ${name}`));
    }, name);
  }
});

testInBrowser(
  'topic_102_a_page_that_is_loaded_again_has_its_messages_also_offline',
  async ({ open, server, profile }) => {
    const page = await open();
    await page.call('subscribe', TOPIC, '0');
    for (const n of range(1, 3)) await page.call('publish', TOPIC, { n });
    await until('three', async () => (await page.numbers()).length === 3);
    await page.reload();
    server.publish(TOPIC, { n: 4 });
    const { messages, lastOffset } = await page.call('load', TOPIC);
    assert.deepEqual(
      messages.map(({ n }) => n),
      [1, 2, 3],
    );
    await page.call('subscribe', TOPIC, lastOffset);
    assert.deepEqual(await page.numbers(), [4]);

    // The page is in memory; what it loads while offline is its stored messages.
    await profile.setOffline(true);
    server.cut();
    await page.call('close');
    await page.do(() => {
      window.told.length = 0;
      window.client = new Client({ targets: location.origin, backoff: { first: 5, most: 50 } });
    });
    const offline = await page.call('load', TOPIC);
    assert.deepEqual(
      offline.messages.map(({ n }) => n),
      [1, 2, 3, 4],
    );
    // What is published now is kept, and sent when the network is back.
    await page.do(() => void (window.published = client.publish('orders', { n: 5 })));
    await profile.setOffline(false);
    assert.equal(await page.do(() => window.published), server.last(TOPIC));
    assert.deepEqual(server.payloads(TOPIC).at(-1), { n: 5 });
  },
);

testInBrowser('what_is_published_offline_is_sent_by_the_next_page', async ({ open, server }) => {
  const page = await open();
  await until('the connection', () => page.do(() => client.isConnected));
  server.drops = ({ msg }) => msg === 'method';
  await page.do(() => void [1, 2, 3].map((n) => client.publish('orders', { n }).catch(() => {})));
  await page.call('load', TOPIC);
  await page.do(async () => {
    const { IndexedDbStorage } = await import('/updraft-client.js');
    const store = await new IndexedDbStorage().open(
      `${location.origin.replace('http', 'ws')}/websocket `,
    );
    while ((await store.outbox.list()).length < 3)
      await new Promise((resolve) => setTimeout(resolve, 10));
  });
  server.drops = () => false;
  await page.reload();
  await until('they are sent', () => server.payloads(TOPIC).length === 3);
  assert.deepEqual(server.payloads(TOPIC), [{ n: 1 }, { n: 2 }, { n: 3 }]);
});

testInBrowser('without_local_storage_nothing_is_kept_in_the_browser', async ({ open, server }) => {
  const page = await open();
  await page.call('close');
  const databases = () => page.do(async () => (await indexedDB.databases()).length);
  const before = await databases();
  for (const localStorage of [false, true]) {
    await page.do((localStorage) => {
      const targets = `${location.host}/another/websocket`;
      window.client = new Client({ targets, localStorage });
    }, localStorage);
    await page.call('subscribe', TOPIC, '0');
    server.publish(TOPIC, { n: 1 });
    await until('it is kept', async () => (await page.call('load', TOPIC)).messages.length > 0);
    await page.call('close');
    assert.equal(await databases(), before + (localStorage ? 1 : 0));
  }
});

testInBrowser('without_indexeddb_it_works_in_memory_and_says_so', async ({ open, server }) => {
  for (const before of [
    () => Object.defineProperty(window, 'indexedDB', { value: undefined }),
    () =>
      (IDBFactory.prototype.open = () => {
        throw new DOMException('private', 'SecurityError');
      }),
  ]) {
    const page = await open({ before });
    await page.call('subscribe', TOPIC, '0');
    server.publish(TOPIC, { n: 1 });
    await until('it comes', async () => (await page.numbers()).includes(1));
    assert.equal((await page.call('load', TOPIC)).messages.at(-1).n, 1);
    assert.deepEqual(
      (await page.of('error')).map(([code]) => code),
      ['storage-unavailable'],
    );
    await page.close();
  }
});

testInBrowser(
  'a_full_quota_drops_the_oldest_messages_and_keeps_the_position',
  async ({ open, server }) => {
    const page = await open({ quota: 3_000_000 });
    await page.call('subscribe', TOPIC, '0');
    // It must not be compressible: what counts is the size on the disk.
    const text = randomBytes(15_000).toString('base64');
    for (let n = 1; (await page.of('evicted')).length === 0; n += 1) {
      assert.ok(n < 1_000, 'the quota is not exceeded');
      server.publish(TOPIC, { n, text: text.slice(n) + text.slice(0, n) });
      await until('it comes', async () => (await page.numbers()).length === n);
    }
    server.publish(TOPIC, { n: 0 });
    await until('it comes', async () => (await page.numbers()).at(-1) === 0);
    const { messages, lastOffset } = await page.call('load', TOPIC);
    const shown = await page.numbers();
    assert.equal(lastOffset, server.last(TOPIC));
    assert.ok(messages.length < shown.length);
    assert.deepEqual(
      messages.map(({ n }) => n),
      shown.slice(shown.length - messages.length),
    );
    assert.deepEqual(await page.of('error'), []);
  },
);

testInBrowser(
  'a_database_of_another_layout_is_cleared_and_that_is_a_reset',
  async ({ open, server }) => {
    const page = await open();
    await page.call('close');
    for (const version of [1, 9]) {
      await page.do(async (version) => {
        const name = `updraft-client:${location.origin.replace('http', 'ws')}/websocket `;
        const done = (request) =>
          new Promise((resolve, reject) =>
            Object.assign(request, { onsuccess: resolve, onerror: () => reject(request.error) }),
          );
        await done(indexedDB.deleteDatabase(name));
        const request = indexedDB.open(name, version);
        request.onupgradeneeded = () => request.result.createObjectStore('others');
        await done(request);
        request.result.close();
      }, version);
      await page.start();
      assert.deepEqual(await page.call('load', TOPIC), { messages: [], lastOffset: undefined });
      assert.deepEqual(await page.of('reset'), [[TOPIC, { reason: 'schema' }]]);
      await page.call('subscribe', TOPIC, '0');
      server.publish(TOPIC, { n: 1 });
      await until('it is stored', async () => (await page.call('load', TOPIC)).messages.length > 0);
      assert.equal((await page.of('reset')).length, 1);
      await page.call('close');
    }
  },
);

testInBrowser(
  'tabs_have_one_connection_and_each_shows_each_message_once',
  async ({ open, server }) => {
    const first = await open();
    await first.call('subscribe', TOPIC, '0');
    for (const n of range(1, 3)) server.publish(TOPIC, { n });
    await until('the first has three', async () => (await first.numbers()).length === 3);
    const second = await open();
    const { messages, lastOffset } = await second.call('load', TOPIC);
    assert.equal(messages.length, 3);
    await second.call('subscribe', TOPIC, lastOffset);
    const third = await open();
    await third.call('subscribe', TOPIC);
    const fourth = await open();
    await fourth.call('subscribe', TOPIC, { last: 2 });
    await fourth.call('subscribe', 'another', '0');
    assert.equal(await third.call('publish', TOPIC, { n: 4 }), server.last(TOPIC));
    for (const [page, numbers] of [
      [first, [1, 2, 3, 4]],
      [second, [4]],
      [third, [4]],
      [fourth, [2, 3, 4]],
    ]) {
      await until('it comes', async () => (await page.numbers()).includes(4));
      assert.deepEqual(await page.numbers(), numbers);
      assert.equal((await page.of('connect')).length, 1);
      assert.ok((await page.of('caughtup')).some(([channel]) => channel === TOPIC));
      assert.deepEqual(await page.of('error'), []);
    }
    assert.deepEqual([server.connections, server.counts.connections], [1, 1]);
    await first.call('unsubscribe', TOPIC);
    await Promise.all([second, third, fourth].map((page) => page.close()));
    await until(
      'nobody follows',
      () => server.followers(TOPIC) + server.followers('another') === 0,
    );
    assert.equal(server.connections, 1);
  },
);

testInBrowser(
  'tabs_that_cannot_find_one_another_have_a_connection_each',
  async ({ open, server }) => {
    const before = () => delete Navigator.prototype.locks;
    const pages = [await open({ before }), await open({ before })];
    for (const page of pages) await page.call('subscribe', TOPIC, '0');
    for (const n of range(1, 50)) server.publish(TOPIC, { n });
    for (const page of pages) {
      await until('all come', async () => (await page.numbers()).length >= 50);
      assert.deepEqual(await page.numbers(), range(1, 50));
    }
    assert.equal(server.connections, 2);
    const stored = await pages[0].call('load', TOPIC);
    assert.deepEqual(
      stored.messages.map(({ n }) => n),
      range(1, 50),
    );
  },
);

testInBrowser(
  'a_leading_tab_that_is_killed_is_replaced_and_nothing_is_lost_or_shown_twice',
  async ({ open, server }) => {
    const random = seeded();
    const tabs = [];
    const add = async () => {
      const page = await open();
      await page.call('subscribe', TOPIC, '0');
      tabs.push(page);
    };
    for (let count = 0; count < 3; count += 1) await add();
    let last = 0;
    let isOver = false;
    const waits = [];
    const publishing = (async () => {
      while (!isOver) {
        server.publish(TOPIC, { n: (last += 1) });
        await new Promise((resolve) => setTimeout(resolve, random() * 3));
      }
    })();
    for (let round = 0; round < 4; round += 1) {
      await new Promise((resolve) => setTimeout(resolve, 200 + random() * 100));
      // The tabs lead in the order in which they asked.
      const leader = tabs.shift();
      if (round === 0)
        await leader.do(() =>
          client.isConnected ? undefined : Promise.reject(new Error('no leader')),
        );
      const killed = performance.now();
      await leader.close();
      const expected = server.publish(TOPIC, { n: (last += 1) }) && last;
      await until('another leads', async () => (await tabs[0].numbers()).includes(expected));
      waits.push(performance.now() - killed);
      await add();
    }
    isOver = true;
    await publishing;
    console.log(`another tab served after ${waits.map(Math.round).join(', ')} ms`);
    // A busy machine is slow in some round; what waits for a time to pass is slow in all.
    assert.ok(Math.min(...waits) < 2_000, 'another tab serves within 2 s');
    for (const page of tabs) {
      await until('all come', async () => (await page.numbers()).at(-1) === last);
      assert.deepEqual(await page.numbers(), range(1, last));
      assert.deepEqual(await page.of('gap'), []);
      assert.deepEqual(await page.of('error'), []);
    }
    assert.equal(server.connections, 1);
    const stored = await tabs[0].call('load', TOPIC);
    assert.deepEqual(
      stored.messages.map(({ n }) => n),
      range(1, last),
    );
  },
);

testInBrowser(
  'what_a_leading_tab_stored_and_did_not_tell_is_shown_too',
  async ({ open, server }) => {
    const [leader, second, third] = [await open(), await open(), await open()];
    for (const page of [leader, second, third]) await page.call('subscribe', TOPIC, '0');
    server.publish(TOPIC, { n: 1 });
    await until('all have it', async () => (await third.numbers()).length === 1);
    await leader.do(() => {
      const post = BroadcastChannel.prototype.postMessage;
      BroadcastChannel.prototype.postMessage = function (message) {
        if (message.news?.kind !== 'records') post.call(this, message);
      };
    });
    for (const n of [2, 3]) server.publish(TOPIC, { n });
    await until('the leader has them', async () => (await leader.numbers()).length === 3);
    await leader.close();
    server.publish(TOPIC, { n: 4 });
    for (const page of [second, third]) {
      await until('all come', async () => (await page.numbers()).at(-1) === 4);
      assert.deepEqual(await page.numbers(), [1, 2, 3, 4]);
    }
  },
);

testInBrowser(
  'a_tab_whose_position_is_not_stored_any_more_loses_nothing',
  async ({ open, server }) => {
    const [leader, second, third] = [await open(), await open(), await open()];
    for (const page of [leader, second, third]) await page.call('subscribe', TOPIC, '0');
    server.publish(TOPIC, { n: 1 });
    await until('all have it', async () => (await third.numbers()).length === 1);
    await leader.call('clear');
    await leader.close();
    for (const n of [2, 3]) server.publish(TOPIC, { n });
    for (const page of [second, third]) {
      await until('all come', async () => (await page.numbers()).at(-1) === 3);
      assert.deepEqual(await page.numbers(), [1, 2, 3]);
      assert.deepEqual(await page.of('error'), []);
    }
  },
);

testInBrowser('what_a_leading_tab_sent_and_did_not_tell_is_told_too', async ({ open, server }) => {
  const [leader, second] = [await open(), await open()];
  await until('the connection', () => second.do(() => client.isConnected));
  await leader.do(() => {
    const post = BroadcastChannel.prototype.postMessage;
    BroadcastChannel.prototype.postMessage = function (message) {
      if (message.news?.kind !== 'published') post.call(this, message);
    };
  });
  await second.do(() => void (window.published = client.publish('orders', { n: 1 })));
  await until('it is sent', () => server.payloads(TOPIC).length === 1);
  await leader.close();
  assert.equal(await second.do(() => window.published), server.last(TOPIC));
  assert.deepEqual(server.payloads(TOPIC), [{ n: 1 }]);
});

testInBrowser(
  'publications_of_all_tabs_arrive_once_when_their_leader_is_killed',
  async ({ open, server }) => {
    const tabs = [await open(), await open(), await open()];
    const publish = (page, first) =>
      page.do((first) => {
        window.published = Promise.all(
          Array.from({ length: 60 }, (_, index) => client.publish('orders', { n: first + index })),
        );
      }, first);
    await publish(tabs[1], 1);
    await publish(tabs[2], 101);
    await until('some are sent', () => server.payloads(TOPIC).length > 10);
    await tabs[0].close();
    await until('all are sent', () => server.payloads(TOPIC).length >= 120);
    for (const page of [tabs[1], tabs[2]])
      assert.equal(new Set(await page.do(() => window.published)).size, 60);
    const numbers = server.payloads(TOPIC).map(({ n }) => n);
    assert.deepEqual(
      numbers.filter((n) => n < 100),
      range(1, 60),
    );
    assert.deepEqual(
      numbers.filter((n) => n > 100),
      range(101, 160),
    );
  },
);
