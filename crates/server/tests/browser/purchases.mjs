// Credit bought by a person: payments are set up by the operator, credit is bought on the payment provider's page, which is the simulator's, and what came of it is followed.
import assert from "node:assert/strict";
import { accessible, nothingWrong, open, start } from "./browser.mjs";
import { signIn, story } from "./story.mjs";

const { url, person, tenant, simulator } = JSON.parse(process.argv[2]);
const browser = await start();
const page = await open(browser, { url });
await signIn(page, { ...person, tenant });

await story("nobody can pay before the operator has set up how, and is told so", async () => {
  await page.goto("/console/billing/purchases/new");
  await page.getByText("Credit cannot be bought here").waitFor();
  await accessible(page, "purchase-none");
  nothingWrong(page);
});

await story("the operator sets up payments", async () => {
  await page.goto("/console/operator/payments");
  const told = await page.locator(".copy-line code").first().textContent();
  const set = await fetch(`${simulator}/_sim/providers/stripe`, { method: "PUT", headers: { "content-type": "application/json" }, body: JSON.stringify({ callback_url: url + new URL(told).pathname }) });
  assert.ok(set.ok, await set.text());
  await page.getByLabel("Secret key").fill("sk_test_simulated");
  await page.getByLabel("Signing secret").fill("whsec_simulated");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("Tenants can buy credit by themselves.").first().waitFor();
  await page.getByText("Payments are taken").waitFor();
  await accessible(page, "payments");
  nothingWrong(page);
});

await story("somebody buys credit on the payment page and watches it arrive", async () => {
  await page.goto("/console/billing");
  await page.getByRole("link", { name: "Buy credit" }).click();
  await page.getByLabel("Amount in USD").fill("12.345");
  await page.getByRole("button", { name: "Go to payment" }).click();
  await page.getByText("USD is paid in steps of 0.01").waitFor();
  await page.getByLabel("Amount in USD").fill("50");
  await page.getByLabel("Keep what I pay with").check();
  await page.getByRole("button", { name: "Go to payment" }).click();
  await page.waitForURL(`${simulator}/stripe/c/pay/**`);
  await page.getByRole("heading", { name: "Pay 50.00 USD" }).waitFor();
  await page.getByRole("button", { name: "Pay", exact: true }).click();
  await page.waitForURL(/\/console\/billing\/purchases\?back=paid$/);
  await page.getByText("Your payment arrived").waitFor();
  await page.locator("#purchases").getByText("Paid", { exact: true }).first().waitFor();
  await page.getByText("•••• 4242").waitFor();
  await accessible(page, "purchases");
  await page.goto("/console/billing");
  await page.locator("#credit").getByText("50.00 USD").first().waitFor();
  nothingWrong(page);
});

await story("somebody changes their mind, and pays later from the list", async () => {
  await page.goto("/console/billing/purchases/new");
  await page.getByLabel("Amount in USD").fill("20");
  await page.getByRole("button", { name: "Go to payment" }).click();
  await page.getByRole("link", { name: "Back without paying" }).click();
  await page.waitForURL(/back=canceled$/);
  await page.getByText("Nothing was paid").waitFor();
  await page.getByRole("link", { name: "Pay 20.00 USD" }).click();
  await page.getByRole("button", { name: "Pay", exact: true }).click();
  await page.getByText("Your payment arrived").waitFor();
  await page.locator("#purchases").getByRole("row", { name: /20\.00 USD/ }).getByText("Paid", { exact: true }).waitFor();
  nothingWrong(page);
});

await story("the operator gives a part of it back", async () => {
  await page.goto("/console/billing/purchases");
  await page.getByRole("link", { name: "Receipt of 50.00 USD" }).waitFor();
  await page.getByRole("link", { name: "50.00 USD", exact: true }).click();
  await page.getByRole("button", { name: "Give back" }).click();
  await page.getByRole("dialog").getByLabel("Amount in USD").fill("10");
  await page.getByLabel("Reason").fill("goodwill");
  await page.getByRole("dialog").getByRole("button", { name: "Give it back" }).click();
  await page.locator("#purchase").getByText("Paid, part given back").waitFor();
  await accessible(page, "purchase");
  await page.goto("/console/billing");
  await page.locator("#credit").getByText("60.00 USD").first().waitFor();
  nothingWrong(page);
});

await browser.close();
