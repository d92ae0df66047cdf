// Makes a picture of every page, light and dark, wide and narrow. `cargo xtask screenshots` calls it with what the program announced and where to put them; ONLY=names and LOOKS=number take fewer.
import { mkdirSync } from "node:fs";
import { open, start } from "./browser.mjs";
import { letterWithLinks, mailbox } from "./mailbox.mjs";
import { api } from "./marketing.mjs";
import { signIn } from "./story.mjs";
import { PAGES, find } from "./pages.mjs";

const [announced, target] = process.argv.slice(2);
const { url, operator_sign_in: person, demo } = JSON.parse(announced);
const only = process.env.ONLY ? process.env.ONLY.split(",") : null;
mkdirSync(target, { recursive: true });
const browser = await start();
const looks = [["light", 1280, 900], ["dark", 1280, 900], ["light", 360, 740], ["dark", 1680, 1000]].slice(0, Number(process.env.LOOKS ?? 4));

/** The pages readers come to from a letter: of a tenant that can send one, which a demo cannot. */
async function hosted(cookies) {
  const token = decodeURIComponent(cookies[0].value);
  const made = await fetch(`${url}/v1/tenants`, { method: "POST", headers: { authorization: `Bearer ${token}`, "content-type": "application/json" }, body: JSON.stringify({ name: "Acme Tickets" }) });
  const box = await mailbox();
  const { unsubscribe, preferences } = await letterWithLinks(api({ url, tenant: (await made.json()).id, cookies }), box);
  box.close();
  return [["hosted-preferences", preferences], ["hosted-unsubscribe", unsubscribe]];
}

/** Where each page is: found once, so that all looks show the same things. */
async function addresses(page, cookies) {
  const found = [];
  for (const [name, where] of [...PAGES, ...await hosted(cookies)]) {
    if (only && !only.includes(name)) continue;
    const address = await find(page, where);
    if (address) found.push([name, address]); else console.log(`${name}: nothing to show`);
  }
  return found;
}

/** Takes every page in one look. */
async function take([theme, width, height], pages, cookies) {
  const page = await open(browser, { url, theme, width, height, cookies });
  const shoot = async (name, address) => {
    await page.goto(address);
    await page.evaluate(() => document.fonts.ready);
    await page.screenshot({ path: `${target}/${name}-${theme}-${width}.png`, fullPage: true });
  };
  for (const [name, address] of pages) await shoot(name, address);
  await page.context().clearCookies();
  if (!only || only.includes("sign-in")) await shoot("sign-in", "/console/sign-in");
  for (const line of page.wrong) console.log(line);
  await page.context().close();
}

const first = await open(browser, { url });
const cookies = await signIn(first, { ...person, tenant: demo.tenant_id });
const pages = await addresses(first, cookies);
await first.context().close();
// All looks at once: a browser waits more than it works.
await Promise.all(looks.map((look) => take(look, pages, cookies)));
await browser.close();
console.log(`${pages.length} pages in ${looks.length} looks`);
