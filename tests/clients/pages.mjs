// What the scripts with pages share: the browser, its windows, and what must hold of every page.

import { load } from './harness.mjs';

const { chromium } = load('playwright-core');

export const DESK = { viewport: { width: 1280, height: 800 } };
export const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

/** Headless Chromium. */
export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic'],
  });
}

/** What sticks out of the window on the right, and the page itself if it can be scrolled sideways. */
export function overflow(page) {
  return page.evaluate(() => {
    const { scrollWidth } = document.documentElement;
    const out = [...document.querySelectorAll('body *')].filter((one) => one.getBoundingClientRect().right > innerWidth + 0.5);
    const scrolls = [...document.querySelectorAll('.scroll')].filter((one) => one.scrollWidth > one.clientWidth);
    return [...out, ...scrolls].map((one) => one.outerHTML.slice(0, 80)).concat(scrollWidth > innerWidth ? `page: ${scrollWidth}` : []);
  });
}

/** The texts that are hard to read, by WCAG's contrast with what is behind them. */
export function unreadable(page, least = 4.5) {
  return page.evaluate((least) => {
    // `rgb(1 2 3)`, or of a mixture `color(srgb 0.1 0.2 0.3)`.
    const read = (color) => {
      const [r, g, b, alpha = 1] = color.match(/[\d.e-]+/g).map(Number);
      const scale = color.startsWith('rgb') ? 255 : 1;
      return { parts: [r / scale, g / scale, b / scale], alpha };
    };
    const luminance = ({ parts }) => {
      const [r, g, b] = parts.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (one) => {
      const color = read(getComputedStyle(one).backgroundColor);
      return color.alpha === 1 || !one.parentElement ? color : behind(one.parentElement);
    };
    const isText = (one) => one.offsetParent && [...one.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    return [...document.querySelectorAll('body *')].filter(isText).flatMap((one) => {
      const [dark, bright] = [luminance(read(getComputedStyle(one).color)), luminance(behind(one))].sort((a, b) => a - b);
      const contrast = (bright + 0.05) / (dark + 0.05);
      return contrast < least ? `${contrast.toFixed(1)} ${one.outerHTML.slice(0, 80)}` : [];
    });
  }, least);
}
