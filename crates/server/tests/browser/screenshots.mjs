// Makes a picture of every page, light and dark, wide and narrow. `cargo xtask screenshots` calls it with what the program announced and where to put them.
import { mkdirSync } from "node:fs";
import { open, start } from "./browser.mjs";
import { signIn } from "./story.mjs";
import { PAGES, visit } from "./pages.mjs";

const [announced, target, only] = process.argv.slice(2);
const { url, operator_sign_in: person, demo } = JSON.parse(announced);
mkdirSync(target, { recursive: true });
const browser = await start();
const looks = [["light", 1280, 900], ["dark", 1280, 900], ["light", 375, 812], ["dark", 1680, 1000]].slice(0, process.env.LOOKS ? Number(process.env.LOOKS) : 4);
let cookies = null;
for (const [theme, width, height] of looks) {
  const page = await open(browser, { url, theme, width, height, cookies: cookies ?? [] });
  if (!cookies) {
    await page.goto("/console");
    await page.screenshot({ path: `${target}/sign-in-${theme}-${width}.png` });
    cookies = await signIn(page, { ...person, tenant: demo.tenant_id });
  }
  for (const [name, where] of PAGES) {
    if (only && !only.split(",").includes(name)) continue;
    if (!await visit(page, where)) { console.log(`${name}: nothing to show`); continue; }
    await page.evaluate(() => document.fonts.ready);
    await page.screenshot({ path: `${target}/${name}-${theme}-${width}.png`, fullPage: true });
  }
  for (const line of page.wrong) console.log(line);
  await page.context().close();
}
await browser.close();
