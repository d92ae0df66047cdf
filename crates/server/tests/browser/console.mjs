// The main jobs of people in the console, on the real program: called by the test with what the program announced and a tenant of its own. Prints each story as it passes.
import assert from "node:assert/strict";
import { accessible, nothingWrong, open, start } from "./browser.mjs";
import { api, marketing } from "./marketing.mjs";
import { signIn, story } from "./story.mjs";

const { url, person, tenant } = JSON.parse(process.argv[2]);
const browser = await start();

let page = await open(browser, { url });
let cookies;

await story("a wrong password is refused in words, the right one lets in", async () => {
  await page.goto("/console/messages");
  assert.match(page.url(), /sign-in\?next=/);
  await accessible(page, "sign-in");
  await page.getByLabel("E-mail").fill(person.email);
  await page.getByLabel("Password").fill("not the password at all");
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.getByText("The e-mail address or the password is not right").waitFor();
  cookies = await signIn(page, { ...person, tenant });
  await page.getByText("as the operator").waitFor();
  nothingWrong(page);
});

await story("somebody is invited with limited rights, joins, and sees no more than they may", async () => {
  await page.goto("/console/settings/users/new");
  await page.getByRole("textbox", { name: "E-mail" }).fill("viewer@example.com");
  await page.getByLabel("Role").selectOption("viewer");
  await page.getByRole("button", { name: "Invite", exact: true }).click();
  const link = await page.locator(".copy-line code").first().textContent();
  const guest = await open(browser, { url });
  await guest.goto(new URL(link).pathname);
  await guest.getByLabel("Your name").fill("Vera Viewer");
  await guest.getByLabel("New password").fill("a long sentence nobody guesses 7");
  await guest.getByRole("button", { name: "Join" }).click();
  await guest.waitForURL(/\/console$/);
  assert.equal(await guest.getByRole("link", { name: "Compose" }).count(), 0);
  await guest.goto("/console/channels");
  assert.equal(await guest.getByRole("link", { name: "Add account" }).count(), 0);
  assert.equal((await guest.goto("/console/compose")).status(), 403);
  assert.equal((await guest.goto("/console/tenants/new")).status(), 403);
  nothingWrong(guest);
  await guest.context().close();
  nothingWrong(page);
});

await story("somebody sets up a sandbox account from the first page and tests it", async () => {
  await page.goto("/console");
  await page.getByRole("link", { name: "Choose a channel" }).click();
  await page.getByRole("link", { name: "Set up SMS" }).click();
  await page.getByRole("link", { name: /Sandbox/ }).click();
  await page.getByLabel("Name").fill("Trial");
  for (const box of await page.getByRole("checkbox").all()) await box.check();
  await page.getByRole("button", { name: "Save account" }).click();
  await page.getByText("The account was saved").waitFor();
  await page.getByRole("button", { name: "Test connection" }).click();
  await page.getByText("Everything is in order.").waitFor();
  nothingWrong(page);
});

await story("a message is written with a preview, sent, and watched until it is read", async () => {
  await page.goto("/console/compose?channel=sms");
  await page.getByLabel("Phone number").fill("+12025550123");
  await page.getByLabel("Text", { exact: true }).fill("Hello {{ name }}, your seat is 7B.");
  await page.locator("#explanation").getByText("Hello [name], your seat is 7B.").waitFor();
  await page.locator("#explanation").getByText("1 part").waitFor();
  await page.getByLabel("name", { exact: true }).fill("Ada");
  await page.locator("#explanation").getByText("Hello Ada, your seat is 7B.").waitFor();
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.waitForURL(/\/console\/messages\/msg_/);
  await page.evaluate(() => { window.untouched = true; });
  await page.locator("#message .badge", { hasText: /^Read$/ }).first().waitFor({ timeout: 30_000 });
  assert.equal(await page.evaluate(() => window.untouched), true, "the page followed by itself, without being loaded again");
  nothingWrong(page);
});

await story("the list moves by itself, and is narrowed by the address", async () => {
  await page.goto("/console/messages");
  await page.getByRole("link", { name: "+12025550123" }).waitFor();
  await page.getByLabel("Any status").selectOption("failed");
  await page.getByText("No message matches").waitFor();
  assert.match(page.url(), /status=failed/);
  await page.reload();
  await page.getByText("No message matches").waitFor();
  nothingWrong(page);
});

await story("the palette finds pages and messages by keyboard alone", async () => {
  await page.goto("/console");
  await page.keyboard.press("Control+k");
  await page.keyboard.type("+12025550123");
  await page.locator("#palette-results").getByText("+12025550123").waitFor();
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/console\/messages\/msg_/);
  await page.keyboard.press("Control+k");
  await page.keyboard.type("chann");
  await page.locator("#palette-results").getByRole("option", { name: "Channels" }).waitFor();
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("#palette").evaluate((dialog) => dialog.open), false);
  nothingWrong(page);
});

await story("contacts come from a file, looked at before anything is written", async () => {
  await page.goto("/console/contacts");
  await page.getByRole("link", { name: "Import a file" }).click();
  const table = "E-Mail;Vorname;Tarif\nada@example.com;Ada;pro\ngrace@example.com;Grace;free\nnobody;Nemo;free\n";
  await page.locator("#f-file").setInputFiles({ name: "contacts.csv", mimeType: "text/csv", buffer: Buffer.from(table) });
  await page.getByRole("heading", { name: "Check the file" }).waitFor();
  await page.getByText("1 of the first 3 rows are wrong").waitFor();
  assert.equal(await page.getByLabel("E-Mail", { exact: true }).inputValue(), "email");
  await accessible(page, "import");
  await page.getByRole("button", { name: "Import", exact: true }).click();
  await page.getByText("Done, some rows wrong").waitFor({ timeout: 30_000 });
  await page.getByRole("link", { name: "See contacts" }).click();
  await page.getByRole("link", { name: "Ada" }).click();
  await page.getByText("Nothing yet").waitFor();
  nothingWrong(page);
});

await story("a recipient is proposed while their name is typed", async () => {
  await page.goto("/console/compose?channel=email");
  await page.getByLabel("To", { exact: true }).pressSequentially("Ada");
  await page.locator('#recipients option[value="ada@example.com"]').waitFor({ state: "attached" });
  await page.goto("/console");
  nothingWrong(page);
});

await story("a key is shown once, works, and is revoked", async () => {
  await page.goto("/console/settings/keys/new");
  await page.getByRole("textbox", { name: "Name" }).fill("Ticket shop");
  await page.getByRole("button", { name: "Make the key" }).click();
  const key = await page.locator(".copy-line code").first().textContent();
  assert.match(key, /^tdk_/);
  const ask = () => fetch(`${url}/v1/messages`, { headers: { authorization: `Bearer ${key}` } });
  assert.equal((await ask()).status, 200);
  await page.getByRole("link", { name: "I have copied it" }).click();
  assert.equal(await page.getByText(key).count(), 0, "the key is not shown again");
  await page.getByRole("button", { name: "Revoke Ticket shop" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Revoke", exact: true }).click();
  await page.getByText("The key was revoked.").waitFor();
  assert.equal((await ask()).status, 401);
  nothingWrong(page);
});

await story("a theme that was chosen stays, and forms work by keyboard", async () => {
  await page.goto("/console");
  await page.getByRole("button", { name: "Dark" }).click();
  await page.reload();
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark");
  await page.getByRole("button", { name: "As the system" }).click();
  await page.reload();
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to content");
  nothingWrong(page);
});

await marketing({ page, story, ask: api({ url, tenant, cookies }) });
await story("a page nobody looks at asks for nothing, and catches up when it is seen again", async () => {
  const watcher = await open(browser, { url, cookies });
  await watcher.goto("/console/messages");
  await watcher.waitForFunction(() => document.body.dataset.live === "on");
  const asked = [];
  watcher.on("request", (request) => asked.push(request.url()));
  const hide = (hidden) => watcher.evaluate((is) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => is });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
  await hide(true);
  assert.equal(await watcher.evaluate(() => document.querySelector("live-news").source), null, "the stream is closed");
  await api({ url, tenant, cookies })("/v1/messages", { to: { phone: "+12025550188" }, channel: "sms", content: { text: "While nobody looks" } });
  assert.deepEqual(asked.filter((one) => !one.includes("/assets/")), []);
  await hide(false);
  await watcher.getByRole("link", { name: "+12025550188" }).waitFor();
  nothingWrong(watcher);
  await watcher.context().close();
});

await story("an instant says on hover exactly when it was", async () => {
  await page.goto("/console/messages");
  const said = await page.locator("tbody time").first().getAttribute("title");
  assert.match(said, /^\w+, \d+ \w+ \d{4}, \d\d:\d\d:\d\d\.\d{3} \S+ · \d\d:\d\d:\d\d\.\d{3} UTC$/);
  nothingWrong(page);
});

await story("a part that cannot be brought up to date stays as it was, and a page that fails says what to do", async () => {
  await page.goto("/console/messages");
  const before = await page.locator("#messages").innerText();
  await page.route("**/console/messages*", (route) => route.fulfill({ status: 503, body: "later" }));
  await page.evaluate(() => htmx.trigger(document.body, "news"));
  await page.waitForResponse((response) => response.status() === 503);
  assert.equal(await page.locator("#messages").innerText(), before);
  await page.unroute("**/console/messages*");
  page.wrong = [];
  await page.goto("/console/nothing-here");
  await page.getByRole("link", { name: "Go to the start" }).click();
  await page.waitForURL(/\/console$/);
  nothingWrong(page);
});

await browser.close();
