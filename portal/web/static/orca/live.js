// What moves by itself: an element with data-live="/address" listens there for server-sent events.
//   swap   {"element id": "html", …}   puts new contents into parts of the page
//   lines  {…}                         goes to the element itself as the event "orca:lines" (see log.js)
//   end                                nothing more will come
// A hidden tab lets go of its stream, since a browser holds few of them, and catches up when it is shown again.
(() => {
  const HIDDEN_AFTER = 20_000;

  // What of a part is news: not the clocks, which the page keeps right, nor what a click has opened or copied, nor a
  // form's token.
  function plain(root) {
    const copy = root.cloneNode(true);
    for (const clock of copy.querySelectorAll("[data-ago], [data-since]")) clock.replaceWith();
    for (const button of copy.querySelectorAll(".btn-copied")) {
      button.classList.remove("btn-copied");
      button.querySelector(".copied-tick")?.remove();
      button.querySelector(".icon")?.removeAttribute("hidden");
    }
    for (const token of copy.querySelectorAll("[name='csrfmiddlewaretoken']")) token.remove();
    for (const element of copy.querySelectorAll("*")) {
      for (const name of ["open", "style", "aria-expanded", "data-popper-placement"]) element.removeAttribute(name);
      element.classList.remove("show");
    }
    return copy.innerHTML.replace(/\s+/g, " ").trim();
  }

  // Parts in which something that was asked for is under way: its answer must still find who asked.
  const waiting = new Map();

  function swap(fragments) {
    for (const [id, html] of Object.entries(fragments)) {
      const place = document.getElementById(id);
      if (!place) continue;
      if (place.querySelector(".htmx-request")) {
        waiting.set(id, html);
        continue;
      }
      waiting.delete(id);
      const fresh = place.cloneNode(false);
      fresh.innerHTML = html;
      if (plain(fresh) === plain(place)) continue;
      const focused = place.contains(document.activeElement) ? document.activeElement.id : "";
      const open = [...place.querySelectorAll("details[open][id]")].map((details) => details.id);
      const scrolled = [...place.querySelectorAll("[data-keep-scroll][id]")].map((e) => [e.id, e.scrollTop]);
      place.innerHTML = html;
      open.forEach((details) => document.getElementById(details)?.setAttribute("open", ""));
      scrolled.forEach(([element, top]) => {
        const found = document.getElementById(element);
        if (found) found.scrollTop = top;
      });
      if (focused) document.getElementById(focused)?.focus();
      window.htmx?.process(place);
      window.orca.tick(place);
    }
  }

  document.addEventListener("htmx:afterRequest", () => setTimeout(() => swap(Object.fromEntries(waiting))));

  class Live {
    constructor(element) {
      this.element = element;
      this.delay = 1000;
      this.ended = false;
      this.last = element.dataset.liveAfter ?? "";
      document.addEventListener("visibilitychange", () => this.seen());
      window.addEventListener("pagehide", () => this.stop());
      window.addEventListener("pageshow", (event) => event.persisted && this.start());
      this.start();
    }

    start() {
      if (this.source || this.ended) return;
      clearTimeout(this.retry);
      const address = new URL(this.element.dataset.live, location.href);
      if (this.last) address.searchParams.set("after", this.last);
      const source = new EventSource(address);
      this.source = source;
      source.addEventListener("open", () => {
        this.delay = 1000;
        this.tell(true);
      });
      source.addEventListener("swap", (event) => swap(JSON.parse(event.data)));
      source.addEventListener("lines", (event) => {
        this.last = event.lastEventId;
        this.element.dispatchEvent(new CustomEvent("orca:lines", { detail: JSON.parse(event.data), bubbles: true }));
      });
      source.addEventListener("end", () => {
        this.ended = true;
        this.stop();
        this.element.dispatchEvent(new CustomEvent("orca:end", { bubbles: true }));
      });
      // The server ends long streams on purpose; a fresh one goes on where the last one stopped.
      source.addEventListener("error", () => {
        this.stop();
        this.tell(false);
        this.retry = setTimeout(() => this.start(), this.delay);
        this.delay = Math.min(this.delay * 2, 30_000);
      });
    }

    stop() {
      clearTimeout(this.retry);
      this.source?.close();
      this.source = null;
    }

    seen() {
      clearTimeout(this.hiding);
      if (document.hidden) this.hiding = setTimeout(() => this.stop(), HIDDEN_AFTER);
      else this.start();
    }

    tell(connected) {
      for (const sign of document.querySelectorAll("[data-live-sign]")) sign.hidden = connected;
    }
  }

  document.querySelectorAll("[data-live]").forEach((element) => new Live(element));
})();
