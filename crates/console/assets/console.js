// The console's behaviour: small custom elements and a few listeners. Pages work without it where they can; nothing here knows a business rule.
"use strict";

const remember = (name, value) => { document.cookie = `${name}=${encodeURIComponent(value)}; Path=/console; Max-Age=31536000; SameSite=Lax`; };

// The viewer's zone, so that the server writes times the way the viewer reads them.
remember("zone", Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC");

// <copy-button value="…">: copies, and says so to everybody.
customElements.define("copy-button", class extends HTMLElement {
  connectedCallback() {
    const button = this.querySelector("button");
    const said = this.querySelector("[role=status]");
    button?.addEventListener("click", async () => {
      await navigator.clipboard.writeText(this.getAttribute("value") || "");
      button.classList.add("done");
      if (said) { said.textContent = "Copied"; setTimeout(() => { said.textContent = ""; }, 2000); }
      const label = button.querySelector("span");
      if (label) { const before = label.textContent; label.textContent = "Copied"; setTimeout(() => { label.textContent = before; }, 1600); }
    });
  }
});

// <theme-switch>: light, dark, or what the system says.
customElements.define("theme-switch", class extends HTMLElement {
  connectedCallback() {
    this.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-theme-to]");
      if (!button) return;
      event.preventDefault();
      const theme = button.dataset.themeTo;
      remember("theme", theme);
      if (theme === "system") document.documentElement.removeAttribute("data-theme");
      else document.documentElement.setAttribute("data-theme", theme);
      for (const other of document.querySelectorAll("button[data-theme-to]")) other.setAttribute("aria-pressed", String(other.dataset.themeTo === theme));
    });
  }
});

// <toast-note>: goes away by itself unless somebody is reading it.
customElements.define("toast-note", class extends HTMLElement {
  connectedCallback() {
    let timer = setTimeout(() => this.remove(), 6000);
    this.addEventListener("mouseenter", () => clearTimeout(timer));
    this.addEventListener("mouseleave", () => { timer = setTimeout(() => this.remove(), 3000); });
    this.querySelector("button")?.addEventListener("click", () => this.remove());
  }
});

// <live-news src="…" from="…">: the page's one event stream, from the newest event the page knew. Whatever listens (hx-trigger="news from:body") asks for its part again, at most twice a second,
// and only while somebody can see the page.
customElements.define("live-news", class extends HTMLElement {
  connectedCallback() {
    this.last = this.getAttribute("from"); this.pending = null; this.source = null; this.missed = false;
    this.onVisible = () => { if (document.hidden) this.stop(); else { this.start(); if (this.missed) this.tell(); } };
    document.addEventListener("visibilitychange", this.onVisible);
    if (!document.hidden) this.start();
  }
  disconnectedCallback() { document.removeEventListener("visibilitychange", this.onVisible); this.stop(); }
  start() {
    if (this.source) return;
    const from = this.last ? `?last_event_id=${encodeURIComponent(this.last)}` : "";
    this.source = new EventSource(this.getAttribute("src") + from);
    this.source.addEventListener("news", (event) => { this.last = event.lastEventId || this.last; this.tell(); });
    this.source.addEventListener("open", () => { document.body.dataset.live = "on"; });
    this.source.addEventListener("error", () => {
      document.body.dataset.live = "off";
      // A refusal ends an EventSource for good; come back in a while.
      if (this.source && this.source.readyState === EventSource.CLOSED) { this.stop(); this.retry = setTimeout(() => this.start(), 5000); }
    });
  }
  stop() { clearTimeout(this.retry); this.source?.close(); this.source = null; this.missed = true; }
  tell() {
    this.missed = false;
    if (this.pending) return;
    this.pending = setTimeout(() => { this.pending = null; htmx.trigger(document.body, "news"); }, 500);
  }
});

// <file-list>: uploads each chosen file at once and shows what the server made of it.
customElements.define("file-list", class extends HTMLElement {
  connectedCallback() {
    const input = this.querySelector("input[type=file]"), list = this.querySelector("ul");
    input?.addEventListener("change", async () => {
      for (const file of input.files) {
        const row = document.createElement("li"); row.textContent = `Uploading ${file.name} …`; list.append(row);
        const headers = { "content-type": file.type || "application/octet-stream", "x-csrf-token": this.getAttribute("token"), "x-filename": encodeURIComponent(file.name) };
        try {
          const answer = await fetch(this.getAttribute("action"), { method: "POST", headers, body: file, credentials: "same-origin" });
          const to = answer.headers.get("x-go");
          row.outerHTML = await answer.text();
          if (to) { window.location.assign(to); return; }
        } catch { row.textContent = `${file.name} could not be uploaded: the server does not answer. Try again.`; }
      }
      input.value = "";
    });
    list?.addEventListener("click", (event) => { const gone = event.target.closest("[data-remove]"); if (gone) { gone.closest("li").remove(); this.dispatchEvent(new Event("change", { bubbles: true })); } });
  }
});

// <file-text for="…">: puts what a chosen file says into a field, where it can be looked at before it is sent.
customElements.define("file-text", class extends HTMLElement {
  connectedCallback() {
    const input = this.querySelector("input[type=file]"), field = document.getElementById(this.getAttribute("for"));
    input?.addEventListener("change", async () => {
      if (!input.files.length || !field) return;
      field.value = await input.files[0].text();
      field.dispatchEvent(new Event("input", { bubbles: true }));
    });
  }
});

// <lead-on>: goes on to where the link inside of it leads, and leaves no step back to this page. Forms cannot lead to other sites: the policy forbids it.
customElements.define("lead-on", class extends HTMLElement {
  connectedCallback() {
    const link = this.querySelector("a[data-lead]");
    if (link) window.location.replace(link.href);
  }
});

// <mail-preview>: posts its form into the frame, which has a stricter policy of its own, whenever the form has been still for a moment.
customElements.define("mail-preview", class extends HTMLElement {
  connectedCallback() {
    const form = document.getElementById(this.getAttribute("form"));
    if (!form) return;
    const show = () => {
      const copy = document.createElement("form");
      copy.method = "post"; copy.action = this.getAttribute("action"); copy.target = this.getAttribute("frame"); copy.hidden = true;
      for (const [name, value] of new FormData(form)) { if (typeof value !== "string") continue; const field = document.createElement("textarea"); field.name = name; field.value = value; copy.append(field); }
      document.body.append(copy); copy.submit(); copy.remove();
    };
    let timer;
    const later = () => { clearTimeout(timer); timer = setTimeout(show, 400); };
    form.addEventListener("input", later); form.addEventListener("change", later);
    show();
  }
});

// Dialogs open by data-opens="id" and close by data-closes or Esc.
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (opener) { event.preventDefault(); const dialog = document.getElementById(opener.dataset.opens); dialog?.showModal(); dialog?.querySelector("[autofocus], input")?.focus(); return; }
  if (event.target.closest("[data-closes]")) { event.preventDefault(); event.target.closest("dialog")?.close(); return; }
  if (event.target instanceof HTMLDialogElement && event.target.matches("dialog[open]")) event.target.close();
  for (const menu of document.querySelectorAll("details.switcher[open]")) if (!menu.contains(event.target)) menu.removeAttribute("open");
});

// The command palette: Ctrl-K or ⌘-K, arrows, Enter.
const palette = () => document.getElementById("palette");
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k" && palette()) {
    event.preventDefault();
    const dialog = palette();
    if (dialog.open) dialog.close(); else { dialog.showModal(); const input = dialog.querySelector("input"); input.select(); htmx.trigger(input, "refresh"); }
    return;
  }
  if (event.key === "Escape") for (const menu of document.querySelectorAll("details.switcher[open]")) { menu.removeAttribute("open"); menu.querySelector("summary").focus(); }
  if (!palette()?.open) return;
  const options = [...palette().querySelectorAll("[role=option]")];
  const at = options.findIndex((option) => option.getAttribute("aria-selected") === "true");
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    if (options.length) choose(options, (at + (event.key === "ArrowDown" ? 1 : -1) + options.length) % options.length);
  } else if (event.key === "Enter" && options.length) { event.preventDefault(); options[Math.max(at, 0)].click(); }
});
function choose(options, index) {
  options.forEach((option, i) => option.setAttribute("aria-selected", String(i === index)));
  options[index].scrollIntoView({ block: "nearest" });
  palette().querySelector("input").setAttribute("aria-activedescendant", options[index].id);
}

// What was opened stays open when a part of the page is replaced, and a failed partial update never replaces anything.
let openDetails = [];
document.addEventListener("htmx:beforeSwap", (event) => {
  openDetails = [...document.querySelectorAll("details[id][open]")].map((details) => details.id);
  const { xhr, requestConfig } = event.detail;
  // A session that ended: the browser has followed to the door, which must not appear in a corner of this page.
  const isDoor = xhr.responseURL && new URL(xhr.responseURL).pathname === "/console/sign-in";
  if (xhr.status === 401 || isDoor) { window.location.reload(); event.detail.shouldSwap = false; return; }
  if (xhr.status === 422) { event.detail.shouldSwap = true; event.detail.isError = false; }
  // What a window asked for and nobody can mend there stands where it would without script: on a page of its own.
  else if (xhr.status >= 400 && requestConfig?.elt?.closest?.("dialog:not(.palette)")) { event.detail.shouldSwap = true; event.detail.isError = false; event.detail.target = document.body; }
});
document.addEventListener("htmx:afterSettle", (event) => {
  for (const id of openDetails) document.getElementById(id)?.setAttribute("open", "");
  if (palette()?.contains(event.target)) { const options = [...palette().querySelectorAll("[role=option]")]; if (options.length) choose(options, 0); }
});

// On a narrow screen tabs scroll: the one that is open is where it can be seen.
document.addEventListener("DOMContentLoaded", () => {
  for (const tab of document.querySelectorAll(".tabs [aria-current]")) tab.parentElement.scrollLeft = tab.offsetLeft - (tab.parentElement.clientWidth - tab.clientWidth) / 2;
});

// A form that was changed and not saved asks before it is left.
let dirty = null;
document.addEventListener("input", (event) => { if (event.target.form?.hasAttribute("data-guard")) dirty = event.target.form; });
document.addEventListener("submit", () => { dirty = null; });
window.addEventListener("beforeunload", (event) => { if (dirty?.isConnected) event.preventDefault(); });

// A field that shows only while another has a certain value: data-when="name=value|value".
const showWhen = () => {
  for (const part of document.querySelectorAll("[data-when]")) {
    const [name, values] = part.dataset.when.split("=");
    const field = part.closest("form")?.elements[name];
    const is = field && values.split("|").includes(field.value);
    part.hidden = !is;
    for (const inner of part.querySelectorAll("input, select, textarea")) inner.disabled = !is;
  }
};
document.addEventListener("change", showWhen);
document.addEventListener("htmx:afterSettle", showWhen);
document.addEventListener("DOMContentLoaded", showWhen);
