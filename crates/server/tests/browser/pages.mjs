// Every page of the console, by a name and where it is. Those of one thing are found through the list they are in.
export const PAGES = [
  ["home", "/console"],
  ["messages", "/console/messages"],
  ["messages-none", "/console/messages?q=nobody%40example.com"],
  ["message", { list: "/console/messages", link: "tbody a.cover" }],
  ["message-failed", { list: "/console/messages?status=bounced", link: "tbody a.cover" }],
  ["dead-letters", "/console/dead-letters"],
  ["received", "/console/inbound"],
  ["compose-email", "/console/compose?channel=email"],
  ["compose-sms", "/console/compose?channel=sms"],
  ["contacts", "/console/contacts"],
  ["contact-new", "/console/contacts/new"],
  ["import", "/console/contacts/import"],
  ["lists", "/console/lists"],
  ["contact", { list: "/console/contacts", link: "tbody a.cover" }],
  ["contact-consent", { list: "/console/contacts", link: "tbody a.cover", rest: "/consent" }],
  ["segments", "/console/segments"],
  ["segment-new", "/console/segments/new"],
  ["suppressions", "/console/suppressions"],
  ["campaigns", "/console/campaigns"],
  ["campaign-new", "/console/campaigns/new"],
  ["campaign", { list: "/console/campaigns", link: "tbody a.cover" }],
  ["templates", "/console/templates"],
  ["template-new", "/console/templates/new"],
  ["template-new-sms", "/console/templates/new?channel=sms"],
  ["template", { list: "/console/templates", link: "tbody a.cover" }],
  ["channels", "/console/channels"],
  ["senders", "/console/senders"],
  ["channel-choose", "/console/channels/new?channel=email"],
  ["account-new-smtp", "/console/channels/new/smtp"],
  ["account-new-twilio", "/console/channels/new/twilio"],
  ["account", { list: "/console/channels", link: ".lines a.line" }],
  ["usage", "/console/usage"],
  ["settings", "/console/settings"],
  ["users", "/console/settings/users"],
  ["user-new", "/console/settings/users/new"],
  ["me", "/console/me"],
  ["keys", "/console/settings/keys"],
  ["key-new", "/console/settings/keys/new"],
  ["webhooks", "/console/settings/webhooks"],
  ["webhook-new", "/console/settings/webhooks/new"],
  ["audit", "/console/settings/audit"],
  ["callbacks", "/console/settings/callbacks"],
  ["tenants", "/console/tenants"],
  ["tenant-new", "/console/tenants/new"],
  ["tenant", { list: "/console/tenants", link: "tbody a.cover" }],
  ["operator-accounts", "/console/operator/accounts"],
  ["operator-queue", "/console/operator/queue"],
  ["operator-system", "/console/operator/system"],
  ["styleguide", "/console/styleguide"],
  ["nothing", "/console/nothing-here"],
];

/** Goes to a page of the list above; answers false when the list it is found through is empty. */
export async function visit(page, where) {
  if (typeof where === "string") { await page.goto(where); return true; }
  await page.goto(where.list);
  const link = page.locator(where.link).first();
  if (await link.count() === 0) return false;
  await page.goto(await link.getAttribute("href") + (where.rest ?? ""));
  return true;
}
