// What is paid for: the operator makes a plan, gives it to a tenant and records a purchase; the tenant sees both and changes neither.
import assert from "node:assert/strict";
import { accessible, nothingWrong } from "./browser.mjs";

export async function money({ page, story }) {
  await story("the operator makes a plan and gives it to a tenant, which sees what is left", async () => {
    await page.goto("/console/operator/plans/new");
    await page.getByRole("textbox", { name: "Name", exact: true }).fill("Studio");
    await page.getByLabel("A month costs").fill("49");
    await page.getByRole("group", { name: "SMS" }).getByLabel("Included").fill("1000");
    await page.getByRole("group", { name: "SMS" }).getByLabel("Each further one costs").fill("0.009");
    await page.getByRole("button", { name: "Add plan" }).click();
    await page.getByText("The plan was added.").waitFor();
    await page.goto("/console/billing/plan");
    await page.locator('[name="plan_id"]').selectOption({ label: "Studio, 49.00 USD" });
    await page.getByRole("button", { name: "Give it this plan" }).click();
    await page.getByText("of 1,000").waitFor();
    await accessible(page, "plan");
    nothingWrong(page);
  });

  await story("a purchase is recorded and stands on the statement", async () => {
    await page.goto("/console/billing");
    await page.getByRole("button", { name: "How it pays" }).click();
    await page.getByLabel("It pays").selectOption("prepaid");
    await page.getByRole("dialog").getByRole("button", { name: "Save" }).click();
    await page.getByText("It counts from the next message on.").waitFor();
    await page.getByRole("button", { name: "Record a purchase" }).click();
    await page.getByLabel("Amount", { exact: true }).first().fill("50");
    await page.getByLabel("Reference").fill("bank transfer 7");
    await page.getByRole("dialog").getByRole("button", { name: "Record it" }).click();
    await page.getByText("The purchase was recorded.").waitFor();
    await page.locator("#credit").getByText("50.00 USD").first().waitFor();
    await page.getByRole("cell", { name: "bank transfer 7" }).waitFor();
    await accessible(page, "credit");
    await page.goto("/console");
    await page.locator("#today").getByText("50.00 USD").waitFor();
    // Back, so that the stories that follow need no prices.
    await page.goto("/console/billing");
    await page.getByRole("button", { name: "How it pays" }).click();
    await page.getByLabel("It pays").selectOption("none");
    await page.getByRole("dialog").getByRole("button", { name: "Save" }).click();
    await page.getByText("It counts from the next message on.").waitFor();
    assert.equal(await page.getByRole("cell", { name: "bank transfer 7" }).count(), 1, "what was recorded stays");
    nothingWrong(page);
  });

  await story("an alert rule is changed and a content rule refuses what it forbids", async () => {
    await page.goto("/console/alerts/rules");
    await page.getByRole("button", { name: "Add rule" }).click();
    await page.getByLabel("What it watches").selectOption("bounce_rate");
    await page.getByRole("dialog").getByLabel("Name").fill("Newsletter bounces");
    await page.getByRole("dialog").getByRole("button", { name: "Add rule" }).click();
    await page.getByText("It watches from now on.").waitFor();
    await page.getByLabel("From where on").fill("3");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("The rule was changed.").waitFor();
    await page.goto("/console/settings/content/new");
    await page.getByRole("textbox", { name: "Name", exact: true }).fill("No gambling");
    await page.getByLabel("Words and phrases").fill("casino");
    await page.getByRole("button", { name: "Add rule" }).click();
    await page.getByText("The rule was added.").waitFor();
    await page.goto("/console/compose?channel=sms");
    await page.getByLabel("Phone number").fill("+12025550123");
    await page.getByLabel("Text", { exact: true }).fill("The Casino is open");
    await page.locator("#explanation").getByText(/casino/i).first().waitFor();
    await page.goto("/console/compose?channel=sms");
    nothingWrong(page);
  });
}
