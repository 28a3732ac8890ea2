// A log that grows: follows its end until one scrolls up, searches, copies links to lines.
(() => {
  const MOST = 20_000;

  // The reader's own time of day, to the thousandth.
  function clock(seconds) {
    const at = new Date(Number(seconds) * 1000);
    const two = (number) => String(number).padStart(2, "0");
    const rest = String(at.getMilliseconds()).padStart(3, "0");
    return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${rest}`;
  }

  class Log {
    constructor(box) {
      this.box = box;
      this.list = box.querySelector("[data-log-lines]");
      this.follow = box.querySelector("[data-log-follow]");
      this.search = box.querySelector("[data-log-search]");
      this.count = box.querySelector("[data-log-count]");
      this.empty = box.querySelector("[data-log-empty]");
      this.execution = Number(this.list.dataset.execution);
      this.dropped = 0;
      this.following = this.list.dataset.follow !== "no";
      this.stamps = box.querySelector("[data-log-stamps]");
      this.waiting = [];
      this.found = [];
      this.at = -1;
      this.list.addEventListener("scroll", () => this.scrolled(), { passive: true });
      this.follow?.addEventListener("click", () => this.setFollowing(!this.following, true));
      this.search?.addEventListener("input", () => this.find());
      this.search?.addEventListener("keydown", (event) => this.step(event));
      this.stamps?.addEventListener("click", () => this.setStamped(!this.stamped));
      this.setStamped(localStorage.getItem("log-times") === "yes");
      const live = box.closest("[data-live]");
      live?.addEventListener("orca:lines", (event) => this.take(event.detail));
      live?.addEventListener("orca:end", () => box.classList.add("log-ended"));
      this.render();
      if (this.following) this.list.scrollTop = this.list.scrollHeight;
      this.jump();
    }

    take({ execution, lines }) {
      if (execution !== this.execution) {
        this.list.querySelectorAll(".log-line").forEach((line) => line.remove());
      }
      this.execution = execution;
      this.waiting.push(...lines);
      if (!this.frame) this.frame = requestAnimationFrame(() => this.flush());
    }

    flush() {
      this.frame = null;
      const fragment = document.createDocumentFragment();
      const query = this.query();
      for (const [number, stream, text, at, html] of this.waiting) {
        const line = document.createElement("div");
        line.className = "log-line";
        line.dataset.stream = stream;
        line.id = `L${number}`;
        const mark = document.createElement("span");
        mark.className = "log-number";
        mark.textContent = number;
        const words = document.createElement("span");
        words.className = "log-text";
        if (html) words.innerHTML = html; // escaped by the server: spans for colours, and nothing else
        else words.textContent = text;
        const stamp = document.createElement("span");
        stamp.className = "log-at";
        stamp.dataset.at = at;
        if (this.stamped) stamp.textContent = clock(at);
        if (query && text.toLowerCase().includes(query)) line.classList.add("log-found");
        line.append(mark, stamp, words);
        fragment.append(line);
      }
      this.waiting = [];
      this.list.append(fragment);
      while (this.list.childElementCount > MOST) {
        this.list.firstElementChild.remove();
        this.dropped += 1;
      }
      this.render();
      if (this.following) this.list.scrollTop = this.list.scrollHeight;
    }

    render() {
      const shown = this.list.querySelectorAll(".log-line").length;
      if (this.empty) this.empty.hidden = shown > 0;
      if (this.count) {
        const rest = this.dropped ? `, the first ${this.dropped.toLocaleString("en")} are in the download` : "";
        this.count.textContent = `${shown.toLocaleString("en")} line${shown === 1 ? "" : "s"}${rest}`;
      }
      if (this.follow) {
        this.follow.setAttribute("aria-pressed", String(this.following));
        this.follow.querySelector("span").textContent = this.following ? "Following" : "Follow";
      }
    }

    setStamped(on) {
      this.stamped = on;
      localStorage.setItem("log-times", on ? "yes" : "no");
      this.stamps?.setAttribute("aria-pressed", String(on));
      this.box.classList.toggle("log-stamped", on);
      if (!on) return;
      for (const stamp of this.list.querySelectorAll(".log-at:empty")) stamp.textContent = clock(stamp.dataset.at);
    }

    setFollowing(on, jump = false) {
      this.following = on;
      if (on && jump) this.list.scrollTop = this.list.scrollHeight;
      this.render();
    }

    scrolled() {
      const atEnd = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 24;
      if (atEnd !== this.following) this.setFollowing(atEnd);
    }

    query() {
      return this.search?.value.trim().toLowerCase() ?? "";
    }

    find() {
      const query = this.query();
      this.found = [];
      this.at = -1;
      for (const line of this.list.querySelectorAll(".log-line")) {
        const hit = query !== "" && line.lastElementChild.textContent.toLowerCase().includes(query);
        line.classList.toggle("log-found", hit);
        line.classList.remove("log-here");
        if (hit) this.found.push(line);
      }
      this.say(query);
      if (this.found.length) this.go(0);
    }

    say(query) {
      const sign = this.box.querySelector("[data-log-found]");
      if (!sign) return;
      const at = this.at >= 0 ? `${this.at + 1} of ` : "";
      sign.textContent = query ? `${at}${this.found.length} found` : "";
    }

    step(event) {
      if (event.key === "Escape") {
        this.search.value = "";
        this.find();
      }
      if (event.key !== "Enter") return;
      event.preventDefault();
      if (!this.found.length) this.find();
      if (this.found.length) this.go(this.at + (event.shiftKey ? -1 : 1));
    }

    go(index) {
      this.found[this.at]?.classList.remove("log-here");
      this.at = (index + this.found.length) % this.found.length;
      const line = this.found[this.at];
      line.classList.add("log-here");
      this.setFollowing(false);
      line.scrollIntoView({ block: "center" });
      this.say(this.query());
    }

    jump() {
      if (!/^#L\d+$/.test(location.hash)) return;
      const line = document.getElementById(location.hash.slice(1));
      if (!line) return;
      this.setFollowing(false);
      line.classList.add("log-here");
      line.scrollIntoView({ block: "center" });
    }
  }

  document.querySelectorAll("[data-log]").forEach((box) => new Log(box));
})();
