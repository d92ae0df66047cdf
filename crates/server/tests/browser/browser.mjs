// One Chromium for a run: opens pages, watches for what must never happen (console errors, refused policies, pages that are too heavy), and asks axe-core about each of them.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import assert from "node:assert/strict";

const directory = process.env.TIDINGS_TEST_BROWSER_DIR;
if (!directory) throw new Error("TIDINGS_TEST_BROWSER_DIR is not set: run `cargo xtask test`, which installs Chromium and what drives it");
const require = createRequire(`${directory}/`);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

/** Heaviest page, in bytes over the wire with everything it loads. */
export const PAGE_MAX = 300_000;

/** Starts Chromium; `close` it in the end. */
export async function start() {
  const flags = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
  return chromium.launch({ executablePath: process.env.TIDINGS_TEST_CHROMIUM || "/usr/bin/chromium", headless: true, args: flags });
}

/** A page that remembers what went wrong on it. */
export async function open(browser, { url, width = 1280, height = 900, theme = "light", cookies = [] }) {
  const context = await browser.newContext({ baseURL: url, viewport: { width, height }, colorScheme: theme, timezoneId: "Europe/Berlin", locale: "en-GB", reducedMotion: "reduce" });
  await context.addCookies([...cookies, { name: "zone", value: "Europe%2FBerlin", url: `${url}/console` }]);
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  page.wrong = [];
  page.on("console", (message) => { if (["error", "warning"].includes(message.type())) page.wrong.push(`${message.type()}: ${message.text()} (${page.url()})`); });
  page.on("pageerror", (error) => page.wrong.push(`uncaught: ${error.message} (${page.url()})`));
  page.on("response", (response) => { if (response.status() >= 500) page.wrong.push(`${response.status()} ${response.url()}`); });
  return page;
}

/** Fails when something went wrong on the page since the last look. A refused form (422) is what some tests ask for, and Chromium reports it as an error. */
export function nothingWrong(page) {
  const wrong = page.wrong.filter((line) => !/status of (422|404|403)/.test(line));
  page.wrong = [];
  assert.deepEqual(wrong, []);
}

/** What axe-core has against the page as it stands. */
export async function accessible(page, name) {
  // Injected over DevTools: the page's own policy stays as strict as it is.
  await page.evaluate(`${axe}; undefined`);
  // Only what is wrong is told in full, and by its source: to find a selector for each element takes as long as the rules themselves.
  const found = await page.evaluate(() => axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"], rules: { region: { enabled: true } }, iframes: false, resultTypes: ["violations"], selectors: false, elementRef: false }));
  const lines = found.violations.flatMap((violation) => violation.nodes.map((node) => `${violation.id}: ${violation.help}: ${node.html.slice(0, 160)} ${node.any.map((check) => check.message).join("; ").slice(0, 200)}`));
  assert.deepEqual(lines, [], `${name} at ${page.url()}`);
}

/** Lets a page be weighed: `page.weight()` answers the bytes of the last page with all it loads, as they lie on the server and as if nothing were kept from before. */
export async function weighing(page) {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Network.setCacheDisabled", { cacheDisabled: true });
  let bodies = [];
  page.on("request", (request) => { if (request.isNavigationRequest() && request.frame() === page.mainFrame()) bodies = []; });
  page.on("response", (response) => { if (!response.url().includes("/console/live") && response.status() < 300) bodies.push(response.body().catch(() => "")); });
  page.weight = async () => {
    await page.evaluate(() => document.fonts.ready);
    return (await Promise.all(bodies)).reduce((sum, body) => sum + body.length, 0);
  };
}
