// Who the business is, whom it registers with, and what counts for everybody it writes to: the stories of a clerk.
import assert from "node:assert/strict";
import { accessible, nothingWrong } from "./browser.mjs";

const TEXTS = {
  "Registered name": "Acme Events LLC", "EIN": "12-3456789", "Website": "https://acme.example", "Street and number": "1 High Street", "City": "Springfield", "State": "IL", "ZIP code": "62701",
  "First name": "Ada", "Last name": "Byron", "Title": "Founder", "E-mail": "ada@acme.example", "Phone": "+14155550123", "Whom the provider writes to": "compliance@acme.example", "Messages a month": "5000",
  "What is sent, and why": "News about the events of a venue, to people who asked for them.", "How people agree": "Whoever buys a ticket on our website can tick a box that is empty at first.",
  "Sample 1": "Acme Tickets: the doors open at 7 pm. Reply STOP to stop.", "Sample 2": "Acme Tickets: new dates in May. Reply STOP to stop.",
  "Privacy policy": "https://acme.example/privacy", "Terms of the messages": "https://acme.example/sms-terms",
};

export async function business({ page, story }) {
  await story("a business is told half, then whole, and registered for an account", async () => {
    await page.goto("/console/registration");
    await page.getByRole("link", { name: "Say who the business is" }).click();
    await page.getByLabel("Registered name").fill("Acme Events LLC");
    await page.getByLabel("EIN").fill("12");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("has nine digits").waitFor();
    await page.getByLabel("EIN").fill("12-3456789");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Still needed before it can be submitted").waitFor();
    await accessible(page, "business");
    await page.getByRole("link", { name: "Website", exact: true }).click();
    assert.match(page.url(), /#f-website$/);
    for (const [label, text] of Object.entries(TEXTS)) await page.getByLabel(label, { exact: true }).fill(text);
    for (const [label, word] of [["Form", "llc"], ["Line of work", "hospitality"], ["Position", "ceo"], ["Kind of messages", "marketing"]]) await page.getByLabel(label, { exact: true }).selectOption(word);
    for (const box of ["Everybody who is written to", "Numbers are not given", "Nothing forbidden is sent"]) await page.getByLabel(box).check();
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("The business can be submitted as it stands.").waitFor();
    await page.getByRole("button", { name: "Register an account" }).click();
    await page.getByRole("dialog").getByLabel("Account").selectOption({ label: "Trial" });
    await page.getByLabel("Area code of the number").fill("628");
    await page.getByRole("dialog").getByRole("button", { name: "Begin" }).click();
    await page.waitForURL(/\/console\/registration\/reg_/);
    await page.locator("#registration").getByText("Under way").waitFor();
    await accessible(page, "registration");
    await page.goto("/console/channels");
    await page.getByText("Pending verification").first().waitFor();
    nothingWrong(page);
  });

  await story("a message repeats, and one of its times is left out", async () => {
    await page.goto("/console/compose?channel=sms");
    await page.getByLabel("Phone number").fill("+12025550123");
    await page.getByLabel("Text", { exact: true }).fill("Your weekly report is ready.");
    await page.getByText("Options", { exact: true }).click();
    await page.getByLabel("How often").selectOption("weekly");
    await page.getByLabel("What it is for").fill("Weekly report");
    await page.getByRole("button", { name: "Send", exact: true }).click();
    await page.waitForURL(/\/console\/schedules\/sch_/);
    await page.getByText("Every week").waitFor();
    await accessible(page, "schedule");
    await page.getByRole("button", { name: /^Leave out/ }).first().click();
    await page.getByText("It is left out.").waitFor();
    await page.getByRole("button", { name: "End it" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "End it" }).click();
    await page.getByText("Nothing more comes.").waitFor();
    nothingWrong(page);
  });

  await story("a person's data is taken along, and the person is erased", async () => {
    await page.goto("/console/contacts/new");
    await page.locator('[name="name"]').fill("Gone Tomorrow");
    await page.getByLabel("E-mail").fill("gone@example.com");
    await page.getByRole("button", { name: "Add contact" }).click();
    await page.getByRole("link", { name: "Their data" }).click();
    await accessible(page, "contact-data");
    const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download everything" }).click()]);
    assert.match(file.suggestedFilename(), /^con_\w+\.zip$/);
    await page.getByRole("button", { name: "Erase this person" }).click();
    await page.getByLabel("Type “erase” to go on").fill("erase");
    await page.getByRole("button", { name: "Erase for good" }).click();
    await page.getByText("The person was erased").waitFor();
    assert.equal(await page.getByRole("link", { name: "Gone Tomorrow" }).count(), 0);
    nothingWrong(page);
  });
}
