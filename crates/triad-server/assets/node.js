// News as they happen. Everything else works without this file, and so do these
// pages: what is here is what loading them again would show.
"use strict";
const list = document.querySelector("[data-live]");
if (list && window.EventSource) {
  const KEPT = 50;
  const state = document.querySelector("[data-state]");
  const say = (text) => { state.hidden = false; state.textContent = text; };
  let last = list.dataset.live;
  let renewing = false;

  // The numbers above the news, as the server would show them now.
  const renew = async () => {
    if (renewing) return;
    renewing = true;
    await new Promise((done) => setTimeout(done, 1000));
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (answer.ok && !answer.redirected) {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const part of document.querySelectorAll("[data-fresh]")) {
          const name = CSS.escape(part.dataset.fresh);
          const fresh = page.querySelector(`[data-fresh="${name}"]`);
          if (fresh) part.replaceWith(document.adoptNode(fresh));
        }
      }
    } catch { /* The next event tries again. */ }
    renewing = false;
  };

  const cell = (kind, name, text) => {
    const part = document.createElement(kind);
    part.className = name;
    part.textContent = text;
    return part;
  };

  const show = (event) => {
    const line = document.createElement("li");
    line.id = "e" + event.sequence;
    const number = cell("a", "number", event.sequence);
    number.href = "/events?from=" + event.sequence;
    number.setAttribute("aria-label", "Event " + event.sequence);
    const what = cell("span", "what", event.text);
    line.append(number, " ", cell("time", "", event.at), " ",
      cell("span", "state " + event.tone, event.kind), " ", what);
    list.prepend(line);
    while (list.children.length > KEPT) list.lastElementChild.remove();
    document.querySelector("[data-nothing]")?.remove();
  };

  const source = new EventSource("/events/live?after=" + encodeURIComponent(last));
  source.addEventListener("open", () => say("New events appear by themselves."));
  source.addEventListener("error", () => say("This node does not answer now; trying again."));
  source.addEventListener("message", (message) => {
    show(JSON.parse(message.data));
    renew();
  });
  // Without events the age of what is shown would stand still.
  setInterval(renew, 5000);
}
