// Goes to every page of a demo, in one look: `light` (and how much each weighs), `dark`, or `narrow`, a phone of 360 pixels.
import assert from "node:assert/strict";
import { PAGE_MAX, accessible, nothingWrong, open, start, weighing } from "./browser.mjs";
import { PAGES, visit } from "./pages.mjs";
import { signIn, story } from "./story.mjs";

const { url, person, tenant, look } = JSON.parse(process.argv[2]);
const browser = await start();
const [width, height] = look === "narrow" ? [360, 740] : [1280, 900];
const page = await open(browser, { url, theme: look === "dark" ? "dark" : "light", width, height });
await signIn(page, { ...person, tenant });
if (look === "light") await weighing(page);

await story(`every page can be used by everybody, ${look}`, async () => {
  for (const [name, where] of PAGES) {
    if (!await visit(page, where)) continue;
    if (look === "narrow") {
      const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.ok(over <= 0, `${name} is ${over} pixels too wide`);
      continue;
    }
    const bytes = page.weight && await page.weight();
    assert.ok(!bytes || bytes <= PAGE_MAX, `${name} weighs ${bytes} bytes`);
    await accessible(page, name);
  }
  nothingWrong(page);
});

if (look === "narrow") await story("the navigation opens on a phone", async () => {
  await page.goto("/console");
  await page.getByRole("link", { name: "Open the navigation" }).click();
  await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: "Channels" }).click();
  await page.waitForURL(/channels$/);
  nothingWrong(page);
});

await browser.close();
