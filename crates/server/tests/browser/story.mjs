// What the tests do again and again.

/** Signs in and enters the tenant; answers the cookies that prove it. */
export async function signIn(page, { email, password, tenant }) {
  await page.goto("/console/sign-in");
  await page.getByLabel("E-mail").fill(email);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.waitForURL(/\/console(\/tenants)?$/);
  if (tenant) {
    await page.goto(`/console/tenants/${tenant}`);
    await page.getByRole("button", { name: "Enter" }).click();
    await page.waitForURL(/\/console$/);
  }
  return (await page.context().cookies()).filter((cookie) => cookie.name === "tidings_session");
}

/** Tells a story and says whether it went well. */
export async function story(name, tell) {
  try { await tell(); console.log(`passed: ${name}`); } catch (error) { console.error(`failed: ${name}`); throw error; }
}
