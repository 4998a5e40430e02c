// The page of the chat example in headless Chromium: two people, one at a desk and one with a
// phone, and Redis.
//
// Started as `node chat_page.mjs URL FOLDER`; screenshots go to the folder. `> publish CHANNEL
// PAYLOAD` asks the test to publish over Redis.

import path from 'node:path';

import { check, restartServer, run, server } from './harness.mjs';
import { DESK, PHONE, launch, overflow } from './pages.mjs';

const folder = process.argv[3];

run(async () => {
  const browser = await launch();
  const problems = [];
  const desk = await open(browser, 'Heron', DESK, problems);
  const phone = await open(browser, 'Kestrel', PHONE, problems);

  for (const [page, colorScheme] of [[desk, 'light'], [desk, 'dark'], [phone, 'dark'], [phone, 'light']]) {
    await page.emulateMedia({ colorScheme });
    await page.screenshot({ path: path.join(folder, `first-${page === desk ? 'desk' : 'phone'}-${colorScheme}.png`) });
  }
  await desk.emulateMedia({ colorScheme: 'light' });
  check('the field for a message has the focus, but where that shows a keyboard', [desk.focused, phone.focused], ['say-lobby', '']);
  check('what to do next is on the page', await desk.textContent('#next a'), 'Open a second tab');
  const hint = await desk.textContent('#next code');
  check('the hint is about Redis', hint, `redis-cli PUBLISH threads::lobby::new_message '{"message":"hi"}'`);
  check('what the wire shows is said', (await desk.textContent('.wire .about')).includes('sent'), true);
  await phone.setViewportSize({ width: 375, height: 667 });
  await phone.fill('#name', 'Steady Buzzard');
  check('a name is not cut on a phone', await phone.evaluate(() => {
    const { scrollWidth, clientWidth } = document.querySelector('#name');
    return scrollWidth <= clientWidth;
  }), true);
  check('and the page fits', await overflow(phone), []);
  await phone.screenshot({ path: path.join(folder, 'first-phone-375.png') });
  await phone.fill('#name', 'Kestrel');

  await say(desk, 'lobby', 'Is the coast clear?');
  for (const page of [desk, phone]) check('what one types, both see', await next(page, 'lobby'), ['Heron', 'Is the coast clear?']);
  await say(phone, 'lobby', 'Cloud base at 1,400 m, wind from the west.');
  for (const page of [desk, phone]) check('and back', (await next(page, 'lobby'))[0], 'Kestrel');

  publish('threads::lobby::new_message', '{"message":"hi"}');
  for (const page of [desk, phone]) check('both hear Redis', await next(page, 'lobby'), ['Somebody', 'hi']);

  const markup = '<img src=x onerror=alert()>';
  publish('threads::hangar::new_message', JSON.stringify({ message: markup, name: '<b>Magpie</b>', at: { $date: 'never' } }));
  check('markup is text', await next(desk, 'hangar'), ['<b>Magpie</b>', markup]);
  publish('threads::hangar::new_message', '42');
  check('an event may be anything', await next(desk, 'hangar'), ['Somebody', '42']);
  check('peers make no elements', await desk.locator('.talk img, .talk b, #frames img').count(), 0);
  check('the phone counts what it does not show', await phone.textContent('nav [data-panel=hangar] b'), '2');

  const frames = await desk.textContent('#frames');
  check('frames are shown', ['connect', 'sub', 'ready', 'changed'].filter((kind) => !frames.includes(`{"msg":"${kind}"`)), []);
  check('the session id is not', frames.match(/"session":"[^"]*"/)?.[0], '"session":"…"');

  await say(desk, 'lobby', 'long'.repeat(200));
  for (const page of [desk, phone]) check('a long word arrives', (await next(page, 'lobby'))[1].length, 800);
  await desk.screenshot({ path: path.join(folder, 'desk.png') });
  for (const width of [390, 360]) {
    await phone.setViewportSize({ width, height: 780 });
    for (const panel of ['lobby', 'hangar', 'wire']) {
      await phone.click(`nav [data-panel=${panel}]`);
      check(`${panel} fits into ${width} pixels`, await overflow(phone), []);
      await phone.screenshot({ path: path.join(folder, `phone-${width}-${panel}.png`) });
    }
  }
  await phone.click('nav [data-panel=lobby]');

  restartServer();
  await desk.locator('#status:not([data-state=connected])').waitFor();
  for (const page of [desk, phone]) await page.locator('#status[data-state=connected]').waitFor();
  for (const page of [desk, phone]) await page.locator('[data-panel=lobby] .note').waitFor();
  await say(desk, 'lobby', 'Back again');
  for (const page of [desk, phone]) check('both are back', await next(page, 'lobby'), ['Heron', 'Back again']);

  for (const colorScheme of ['light', 'dark']) {
    await desk.emulateMedia({ colorScheme });
    const contrasts = await desk.evaluate(measure);
    check(`bubbles stand out in ${colorScheme}`, contrasts.filter(({ bubble }) => bubble < 1.2), []);
    check(`texts are readable in ${colorScheme}`, contrasts.filter(({ text }) => text < 4.5), []);
  }
  await desk.screenshot({ path: path.join(folder, 'desk-dark.png') });
  check('nothing went wrong, and nobody else was asked', problems, []);
  await browser.close();
});

async function open(browser, name, options, problems) {
  const page = await (await browser.newContext(options)).newPage();
  page.setDefaultTimeout(15_000);
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('request', (request) => {
    const { protocol, host } = new URL(request.url());
    if (protocol !== 'data:' && host !== server.host) problems.push(request.url());
  });
  await page.goto(server.href);
  for (const room of ['lobby', 'hangar']) await page.locator(`[data-panel=${room}] header p`, { hasText: 'Live' }).waitFor({ state: 'attached' });
  page.focused = await page.evaluate(() => document.activeElement.id);
  await page.fill('#name', name);
  return page;
}

async function say(page, room, text) {
  await page.fill(`#say-${room}`, text);
  await page.press(`#say-${room}`, 'Enter');
}

function publish(channel, payload) {
  console.log(`> publish ${channel} ${payload}`);
}

/** Name and text of the message after the last that was asked for. */
async function next(page, room) {
  const seen = (page.seen ??= {});
  const message = page.locator(`[data-panel=${room}] .message`).nth(seen[room] ?? 0);
  await message.waitFor({ state: 'attached' });
  seen[room] = (seen[room] ?? 0) + 1;
  return [await message.locator('bdi').textContent(), await message.locator('.bubble').textContent()];
}

/** How bubbles stand out from what is behind them, and texts from their bubbles, by WCAG's contrast. */
function measure() {
  const luminance = (color) => {
    const parts = color.match(/[\d.]+/g).slice(0, 3).map((part) => part / 255);
    const [r, g, b] = parts.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [dark, bright] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (bright + 0.05) / (dark + 0.05);
  };
  return [...document.querySelectorAll('.bubble')].map((bubble) => {
    const { backgroundColor, color } = getComputedStyle(bubble);
    const behind = getComputedStyle(bubble.closest('section')).backgroundColor;
    return { bubble: contrast(backgroundColor, behind), text: contrast(color, backgroundColor) };
  });
}
