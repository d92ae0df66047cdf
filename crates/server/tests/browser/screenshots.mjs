// Makes a picture of every page, light and dark, wide and narrow. `cargo xtask screenshots` calls it with what the program announced and where to put them; ONLY=names and LOOKS=number take fewer.
import { mkdirSync } from "node:fs";
import { open, start } from "./browser.mjs";
import { letterWithLinks, mailbox } from "./mailbox.mjs";
import { api } from "./marketing.mjs";
import { signIn } from "./story.mjs";
import { PAGES, visit } from "./pages.mjs";

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

let cookies = null;
let pages = PAGES;
for (const [theme, width, height] of looks) {
  const page = await open(browser, { url, theme, width, height, cookies: cookies ?? [] });
  if (!cookies) {
    await page.goto("/console");
    cookies = await signIn(page, { ...person, tenant: demo.tenant_id });
    pages = [...PAGES, ...await hosted(cookies)];
  }
  for (const [name, where] of pages) {
    if (only && !only.includes(name)) continue;
    if (!await visit(page, where)) { console.log(`${name}: nothing to show`); continue; }
    await page.evaluate(() => document.fonts.ready);
    await page.screenshot({ path: `${target}/${name}-${theme}-${width}.png`, fullPage: true });
  }
  await page.context().clearCookies();
  await page.goto("/console/sign-in");
  if (!only || only.includes("sign-in")) await page.screenshot({ path: `${target}/sign-in-${theme}-${width}.png` });
  for (const line of page.wrong) console.log(line);
  await page.context().close();
}
await browser.close();
