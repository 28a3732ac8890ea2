// What every page can do: copy, tell, ask before something is lost.
(() => {
  const ICONS = document.querySelector("meta[name='icons']")?.content ?? "";

  function icon(name) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("class", "icon");
    svg.setAttribute("aria-hidden", "true");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    use.setAttribute("href", `${ICONS}#${name}`);
    svg.append(use);
    return svg;
  }

  // --- messages that float in --------------------------------------------------------------------------------
  const LOOKS = {
    success: ["good", "check-circle-fill"],
    info: ["busy", "info-circle-fill"],
    warning: ["warn", "exclamation-triangle-fill"],
    error: ["bad", "x-circle-fill"],
  };

  function toast({ message, hint = "", level = "success" }) {
    const place = document.getElementById("toasts");
    if (!place || !message) return;
    const [tone, name] = LOOKS[level] ?? LOOKS.info;
    const box = document.createElement("div");
    box.className = `notice notice-${tone}`;
    box.setAttribute("role", level === "error" ? "alert" : "status");
    const text = document.createElement("div");
    const first = document.createElement("p");
    first.textContent = message;
    text.append(first);
    if (hint) {
      const second = document.createElement("p");
      second.className = "small muted";
      second.textContent = hint;
      text.append(second);
    }
    const close = document.createElement("button");
    close.type = "button";
    close.className = "btn-close";
    close.setAttribute("aria-label", "Close");
    close.addEventListener("click", () => box.remove());
    box.append(icon(name), text, close);
    place.append(box);
    if (place.showPopover) { // above an open dialog, too
      if (place.matches(":popover-open")) place.hidePopover();
      place.showPopover();
    }
    if (level !== "error") setTimeout(() => box.remove(), 7000);
  }

  document.addEventListener("toast", (event) => toast(event.detail));
  document.addEventListener("htmx:sendError", () => {
    toast({ message: "Orca does not answer.", hint: "Check your connection and try again.", level: "error" });
  });
  document.addEventListener("htmx:responseError", (event) => {
    if (event.detail.xhr.getResponseHeader("HX-Trigger")) return;
    toast({ message: "That did not work.", hint: `The server answered ${event.detail.xhr.status}.`, level: "error" });
  });

  // --- the clipboard ------------------------------------------------------------------------------------------
  async function put(text) {
    if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "visually-hidden";
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }

  async function copy(button) {
    const source = button.dataset.copyFrom && document.getElementById(button.dataset.copyFrom);
    try {
      await put(source ? source.textContent.trim() : button.dataset.copy);
    } catch {
      toast({ message: "Copying was not allowed.", hint: "Select the text and copy it yourself.", level: "warning" });
      return;
    }
    const before = button.querySelector(".icon");
    const tick = icon("check-lg");
    tick.classList.add("copied-tick");
    before?.setAttribute("hidden", "");
    before?.before(tick);
    button.classList.add("btn-copied");
    setTimeout(() => {
      tick.remove();
      before?.removeAttribute("hidden");
      button.classList.remove("btn-copied");
    }, 2500);
  }

  // --- dialogs ------------------------------------------------------------------------------------------------
  function dialog(id) {
    const found = document.getElementById(id);
    if (!(found instanceof HTMLDialogElement)) return;
    found.showModal();
    found.querySelector("[autofocus]")?.focus();
  }

  // What was shown once is gone when its dialog is closed.
  document.querySelectorAll("dialog[data-forget]").forEach((found) => {
    const place = document.getElementById(found.dataset.forget);
    const before = place.innerHTML;
    found.addEventListener("close", () => {
      place.innerHTML = before;
    });
  });

  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    const copies = target?.closest("[data-copy], [data-copy-from]");
    if (copies) copy(copies);
    const opens = target?.closest("[data-open]");
    if (opens) dialog(opens.dataset.open);
    if (target?.closest("[data-close]")) target.closest("dialog")?.close();
    if (target instanceof HTMLDialogElement) target.close(); // the backdrop
    const dismissed = target?.closest("[data-dismiss]");
    if (dismissed) dismissed.closest(".notice")?.remove();
    const row = target?.closest("[data-remove-row]");
    if (row) row.closest("[data-row]")?.remove();
    const fits = target?.closest("[data-fit]");
    if (fits) fit(fits);
    const adds = target?.closest("[data-add-row]");
    if (adds) addRow(adds);
  });

  function addRow(button) {
    const template = document.getElementById(button.dataset.addRow);
    if (!(template instanceof HTMLTemplateElement)) return;
    button.before(template.content.cloneNode(true));
    button.previousElementSibling?.querySelector("input")?.focus();
  }

  // A picture as a whole, or in its own size.
  function fit(button) {
    const on = document.getElementById(button.dataset.fit)?.classList.toggle("dag-fit") ?? false;
    button.setAttribute("aria-pressed", String(on));
  }

  // What was chosen is to be seen in the box that scrolls, without the page moving.
  for (const box of document.querySelectorAll("[data-show-chosen]")) {
    const found = box.querySelector("[aria-current]");
    if (!found) continue;
    const [outer, inner] = [box.getBoundingClientRect(), found.getBoundingClientRect()];
    box.scrollTop += inner.top - outer.top - (outer.height - inner.height) / 2;
    box.scrollLeft += inner.left - outer.left - (outer.width - inner.width) / 2;
  }

  // A typed confirmation: the button wakes when the name is right.
  function typed(input) {
    const button = input.form?.querySelector("[type='submit']");
    if (button) button.disabled = input.value.trim() !== input.dataset.must;
  }

  document.addEventListener("input", (event) => {
    if (event.target instanceof HTMLInputElement && event.target.dataset.must !== undefined) typed(event.target);
  });
  document.addEventListener("change", (event) => {
    const form = event.target instanceof Element ? event.target.closest("form[data-auto]") : null;
    form?.requestSubmit();
  });

  // A form that was sent once is not sent twice by a double click.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!(form instanceof HTMLFormElement) || form.method !== "post" || form.dataset.again !== undefined) return;
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
    const button = event.submitter;
    setTimeout(() => {
      if (button instanceof HTMLButtonElement) button.disabled = true;
    });
  });
  window.addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) {
      delete form.dataset.sent;
      for (const button of form.querySelectorAll("[type='submit']")) button.disabled = false;
    }
    document.querySelectorAll("[data-must]").forEach(typed);
  });

  document.querySelectorAll("[data-must]").forEach(typed);
  document.querySelectorAll("dialog[data-open-now]").forEach((found) => dialog(found.id));
  window.orca = Object.assign(window.orca ?? {}, { icon, toast });
})();
