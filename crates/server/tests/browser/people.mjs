// How people come in: with a second factor, and into a demo by its link.
import { createHmac } from "node:crypto";
import assert from "node:assert/strict";
import { accessible, nothingWrong, open } from "./browser.mjs";
import { letterWithLinks, mailbox } from "./mailbox.mjs";

/** The six digits an app shows for a secret (RFC 6238) in the step of this instant. */
function digits(secret, at = Date.now()) {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = [...secret.replace(/[^A-Z2-7]/g, "")].map((letter) => alphabet.indexOf(letter).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(at / 30_000)));
  const hash = createHmac("sha1", key).update(step).digest();
  const from = hash[19] & 15;
  return String((hash.readUInt32BE(from) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

export async function people({ browser, url, page, story, ask }) {
  await story("somebody signs in through their organisation", async () => {
    const ada = await open(browser, { url });
    await ada.goto("/console/messages");
    await ada.getByRole("link", { name: "Sign in with your organisation" }).click();
    await ada.waitForURL(/\/console\/messages$/);
    await ada.getByRole("heading", { name: "Messages", level: 1 }).waitFor();
    assert.equal(await ada.getByRole("link", { name: "Tenants" }).count(), 0, "a member is no staff");
    nothingWrong(ada);
    await ada.context().close();
  });

  await story("a reader chooses what reaches them, and then nothing, on the pages a letter leads to", async () => {
    const box = await mailbox();
    const { contact, unsubscribe, preferences } = await letterWithLinks(ask, box);
    const reader = await open(browser, { url });
    const dark = await open(browser, { url, theme: "dark", width: 360, height: 740 });
    for (const [name, path] of [["preferences", preferences], ["unsubscribe", unsubscribe]]) {
      for (const one of [reader, dark]) {
        await one.goto(path);
        await accessible(one, name);
      }
      assert.ok(await dark.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth), `${name} is too wide`);
    }
    await reader.goto(preferences);
    await reader.getByRole("checkbox", { name: /^SMS/ }).uncheck();
    await reader.getByLabel("From").fill("22:00");
    await reader.getByLabel("until").fill("08:00");
    await reader.getByRole("button", { name: "Save" }).click();
    await reader.getByText("Saved.").waitFor();
    assert.equal(await reader.getByRole("checkbox", { name: /^SMS/ }).isChecked(), false);
    await page.goto(`/console/contacts/${contact.id}/consent`);
    assert.equal(await page.getByRole("switch", { name: "Messages by SMS" }).getAttribute("aria-checked"), "false");
    assert.equal(await page.getByRole("switch", { name: "Messages by E-mail" }).getAttribute("aria-checked"), "true");
    assert.equal(await page.locator('[name="quiet_hours/from"]').inputValue(), "22:00");
    await reader.goto(unsubscribe);
    await reader.getByRole("button", { name: "Unsubscribe from everything" }).click();
    await reader.getByRole("heading", { name: "You are unsubscribed" }).waitFor();
    await accessible(reader, "unsubscribed");
    await page.reload();
    assert.equal(await page.getByRole("switch", { name: "Messages by E-mail" }).getAttribute("aria-checked"), "false");
    nothingWrong(reader);
    nothingWrong(dark);
    nothingWrong(page);
    await reader.context().close();
    await dark.context().close();
    box.close();
  });

  await story("somebody sets up a second factor and is asked for it", async () => {
    await page.goto("/console/settings/users/new");
    await page.getByRole("textbox", { name: "E-mail" }).fill("member@example.com");
    await page.getByLabel("Role").selectOption("member");
    await page.getByRole("button", { name: "Invite", exact: true }).click();
    const link = await page.locator(".copy-line code").first().textContent();
    const member = await open(browser, { url });
    const password = "a long sentence nobody guesses 8";
    await member.goto(new URL(link).pathname);
    await member.getByLabel("Your name").fill("Mia Member");
    await member.getByLabel("New password").fill(password);
    await member.getByRole("button", { name: "Join" }).click();
    await member.waitForURL(/\/console$/);
    await member.goto("/console/me");
    await member.getByRole("button", { name: "Set it up" }).click();
    await accessible(member, "second-factor");
    const secret = await member.locator(".copy-line code").first().textContent();
    await member.getByLabel("Code", { exact: true }).fill(digits(secret));
    await member.getByRole("button", { name: "Switch on" }).click();
    await member.getByText("The second factor is on").waitFor();
    const recovery = await member.locator("copy-button").first().getAttribute("value").then((codes) => codes.split("\n")[0]);
    await accessible(member, "recovery-codes");
    await member.context().clearCookies();
    await member.goto("/console/sign-in");
    await member.getByLabel("E-mail").fill("member@example.com");
    await member.getByLabel("Password").fill(password);
    await member.getByRole("button", { name: "Sign in", exact: true }).click();
    await member.waitForURL(/\/console\/code/);
    await accessible(member, "code");
    await member.getByLabel("Code", { exact: true }).fill(recovery);
    await member.getByRole("button", { name: "Go on" }).click();
    await member.waitForURL(/\/console$/);
    nothingWrong(member);
    await member.context().close();
  });

  await story("the staff makes a demo, and its link opens it at its first page", async () => {
    await page.goto("/console/demos");
    await accessible(page, "demos");
    await page.getByLabel("Whom is it for?").fill("Globex");
    await page.getByRole("button", { name: "Make a demo" }).click();
    const link = await page.locator(".copy-line code").first().textContent();
    const guest = await open(browser, { url });
    await guest.goto(new URL(link).pathname);
    await guest.getByRole("button", { name: "Sign in" }).click();
    await guest.waitForURL(/\/console$/);
    await guest.getByText("Everything works and nothing leaves").waitFor();
    await guest.goto("/console/analytics");
    await guest.getByText("Everything works and nothing leaves").waitFor();
    nothingWrong(guest);
    await guest.context().close();
    nothingWrong(page);
  });
}
