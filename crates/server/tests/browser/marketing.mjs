// What a marketer does: writes a template and takes a version back, makes a segment, and sends a campaign past the people who have not agreed.
import assert from "node:assert/strict";
import { accessible, nothingWrong } from "./browser.mjs";

/** Asks the API as the person who is signed in, inside of the tenant. */
export function api({ url, tenant, cookies }) {
  const token = decodeURIComponent(cookies[0].value);
  return async (path, body) => {
    const answer = await fetch(`${url}${path}`, { method: "POST", headers: { authorization: `Bearer ${token}`, "tidings-tenant": tenant, "content-type": "application/json" }, body: JSON.stringify(body) });
    const text = await answer.text();
    assert.ok(answer.ok, `${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : null;
  };
}

/** A list of six people, half of whom agreed to mail, and an account slow enough to watch. */
async function audience(ask) {
  const list = await ask("/v1/lists", { name: "Season tickets" });
  const people = [];
  for (let number = 0; number < 6; number += 1) {
    const contact = await ask("/v1/contacts", { email: `holder${number}@example.com`, first_name: "Ada" });
    if (number % 2 === 0) await ask(`/v1/contacts/${contact.id}/consents`, { channel: "email", state: "opted_in", method: "form", text: "Yes, send me news by e-mail." });
    people.push(contact.id);
  }
  await ask(`/v1/lists/${list.id}/contacts`, { contact_ids: people });
  await ask("/v1/accounts", { name: "Slow", connector: "sandbox", channels: ["email"], default_for: [], per_second: 1 });
}

export async function marketing({ page, story, ask }) {
  await story("a template is written, published, compared and taken back", async () => {
    await page.goto("/console/templates/new?channel=sms");
    await page.getByRole("textbox", { name: "Name", exact: true }).fill("doors-open");
    await page.locator('[name="says/text"]').fill("Hello {{ name }}, doors open at 7.");
    await page.locator("#shown").getByText("1 part").waitFor();
    await page.getByRole("button", { name: "Add template" }).click();
    await page.getByText("The template was added as a draft").waitFor();
    for (const hour of ["8", "9"]) {
      await page.locator('[name="says/text"]').fill(`Hello {{ name }}, doors open at ${hour}.`);
      await page.getByRole("button", { name: "Save and publish" }).click();
      await page.getByText("Published. This is what is sent from now on.").waitFor();
    }
    const template = page.url();
    await page.getByRole("link", { name: "Changes of version 3" }).click();
    await page.locator(".diff .gone").getByText("doors open at 8.").waitFor();
    await page.locator(".diff .added").getByText("doors open at 9.").waitFor();
    await accessible(page, "template-compare");
    await page.goto(template);
    await page.getByRole("button", { name: "Take back" }).click();
    await page.getByText("Taken back. The version before is sent again.").waitFor();
    nothingWrong(page);
  });

  await story("a window says what is wrong with what was typed, keeps it, and closes when it is right", async () => {
    await page.goto("/console/suppressions");
    await page.getByRole("button", { name: "Suppress an address" }).first().click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Address or number").fill("nobody");
    await dialog.getByLabel("Remark").fill("asked by telephone");
    await dialog.getByRole("button", { name: "Suppress it" }).click();
    await dialog.getByRole("alert").waitFor();
    assert.equal(await dialog.getByLabel("Address or number").inputValue(), "nobody");
    assert.equal(await dialog.getByLabel("Remark").inputValue(), "asked by telephone");
    await accessible(page, "refused-window");
    await dialog.getByLabel("Address or number").fill("nobody@example.com");
    await dialog.getByRole("button", { name: "Suppress it" }).click();
    await page.getByRole("cell", { name: "nobody@example.com", exact: true }).waitFor();
    nothingWrong(page);
  });

  await story("a segment is built and counted before it is saved", async () => {
    await page.goto("/console/segments/new");
    await page.getByRole("textbox", { name: "Name", exact: true }).fill("German readers");
    await page.locator('[name="subject/0"]').selectOption("field:language");
    await page.locator('[name="text/0/test"]').selectOption("starts_with");
    await page.locator('[name="text/0/value"]').fill("de");
    await page.locator("strong.count").waitFor();
    await page.getByRole("button", { name: "Save segment" }).click();
    await page.waitForURL(/\/console\/segments\/seg_/);
    nothingWrong(page);
  });

  await story("a campaign is built, stopped by its checklist, sent without who has not agreed, paused and let go on", async () => {
    await audience(ask);
    await page.goto("/console/campaigns/new?channel=email");
    await page.getByRole("textbox", { name: "Name", exact: true }).fill("Season tickets, reminder");
    await page.getByRole("checkbox", { name: /Season tickets/ }).first().check();
    await page.getByLabel("It says").selectOption("content");
    await page.locator('[name="content/subject"]').fill("{{ contact.first_name }}, your seat");
    await page.locator('[name="content/text"]').fill("It is still yours until Friday. {{ unsubscribe_url }}");
    await page.getByLabel("Through").selectOption({ label: "Slow" });
    await page.getByRole("button", { name: "Save and check" }).click();
    await page.getByText("The draft was saved").waitFor();
    await page.getByText("Something is in the way").waitFor();
    await accessible(page, "campaign-checklist");
    await page.getByRole("button", { name: "Remove contacts and send" }).click();
    await page.getByText("It is under way.").waitFor();
    await page.getByRole("button", { name: "Pause", exact: true }).click();
    await page.getByText("What waits is held until it goes on").waitFor();
    await accessible(page, "campaign-paused");
    await page.getByRole("button", { name: "Resume", exact: true }).click();
    await page.locator(".page-head .badge, #going .badge").first().waitFor();
    await page.locator("#going").getByText("3 left out").waitFor({ timeout: 30_000 });
    nothingWrong(page);
  });
}
