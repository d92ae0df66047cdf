// A mail server on loopback that takes everything and hands it out: how the stories get at links that only ever stand in a mail.
import { createServer } from "node:net";

/** Starts one; `letter()` waits for the next mail and answers its text, `close()` ends it. */
export async function mailbox() {
  const letters = [], waiting = [];
  const arrive = (letter) => { const next = waiting.shift(); if (next) next(letter); else letters.push(letter); };
  const server = createServer((socket) => {
    let data = null, rest = "";
    const say = (line) => socket.write(`${line}\r\n`);
    say("220 mailbox");
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      rest += bytes.toString("latin1");
      for (let end; (end = rest.indexOf("\r\n")) >= 0;) {
        const line = rest.slice(0, end);
        rest = rest.slice(end + 2);
        if (data) {
          if (line === ".") { arrive(plain(data.join("\n"))); data = null; say("250 taken"); } else data.push(line.replace(/^\.\./, "."));
        } else if (/^DATA/i.test(line)) { data = []; say("354 go on"); }
        else if (/^QUIT/i.test(line)) { say("221 bye"); socket.end(); }
        else say("250 fine");
      }
    });
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  return {
    port: server.address().port,
    letter: () => letters.length ? Promise.resolve(letters.shift()) : new Promise((resolve) => waiting.push(resolve)),
    close: () => server.close(),
  };
}

/** A mail without the marks of quoted-printable. */
function plain(text) {
  return text.replace(/=\n/g, "").replace(/=([0-9A-F]{2})/g, (_, code) => String.fromCharCode(Number.parseInt(code, 16)));
}

/** An account that sends through it, and a letter to somebody who agreed: answers the contact and the paths of the two pages the letter leads to. */
export async function letterWithLinks(ask, box) {
  const settings = { host: "127.0.0.1", port: box.port, security: "none" };
  const account = await ask("/v1/accounts", { name: "Mailbox", connector: "smtp", channels: ["email"], default_for: [], from: "Acme Tickets <news@acme.example>", settings });
  const contact = await ask("/v1/contacts", { email: "reader@example.com", phone: "+12025550177", first_name: "Rosa" });
  for (const channel of ["email", "sms"]) await ask(`/v1/contacts/${contact.id}/consents`, { channel, state: "opted_in", method: "form", text: "Yes, send me news." });
  const content = { subject: "What is on", text: "Three concerts. No more: {{ unsubscribe_url }}\nChoose: {{ preferences_url }}\n" };
  await ask("/v1/messages", { to: { contact_id: contact.id }, channel: "email", purpose: "marketing", topic: "general_updates", account_id: account.id, content });
  const letter = await box.letter();
  const path = (which) => new RegExp(`https?://[^/\\s]+(/${which}/[^\\s<>"]+)`).exec(letter)[1];
  return { contact, unsubscribe: path("u"), preferences: path("p") };
}
