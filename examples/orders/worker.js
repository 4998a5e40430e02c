// Keeps the files of the page, so that it also opens without a network. The orders are kept by
// updraft-client.

const FILES = ['/', '/updraft-client.js'];

addEventListener('install', (event) => {
  event.waitUntil(caches.open('orders').then((kept) => kept.addAll(FILES)));
});

addEventListener('fetch', (event) => {
  const { pathname } = new URL(event.request.url);
  if (FILES.includes(pathname)) event.respondWith(answer(event.request));
});

/** The server's file, or without a server the one that it gave last. */
async function answer(request) {
  const kept = await caches.open('orders');
  try {
    const response = await fetch(request);
    if (response.ok) await kept.put(request, response.clone());
    return response;
  } catch {
    return (await kept.match(request)) ?? Response.error();
  }
}
