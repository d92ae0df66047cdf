// Who comes in, who reads, who pays and who keeps the law: the stories of people.mjs, money.mjs and business.mjs, on a tenant with a sandbox.
import { open, start } from "./browser.mjs";
import { business } from "./business.mjs";
import { api } from "./marketing.mjs";
import { money } from "./money.mjs";
import { people } from "./people.mjs";
import { signIn, story } from "./story.mjs";

const { url, person, tenant } = JSON.parse(process.argv[2]);
const browser = await start();
const page = await open(browser, { url });
const cookies = await signIn(page, { ...person, tenant });
const ask = api({ url, tenant, cookies });
await ask("/v1/accounts", { name: "Trial", connector: "sandbox" });
await people({ browser, url, page, story, ask });
await money({ page, story });
await business({ page, story });
await browser.close();
