// Times that stay right while a page is open. The server writes the same words (templatetags/orca.py).
(() => {
  const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

  function relative(milliseconds) {
    const future = milliseconds < 0;
    const seconds = Math.floor(Math.abs(milliseconds) / 1000);
    if (seconds < 10) return "just now";
    const [unit, length] = units.find(([, size]) => seconds >= size);
    const count = Math.floor(seconds / length);
    const words = `${count} ${unit}${count === 1 ? "" : "s"}`;
    return future ? `in ${words}` : `${words} ago`;
  }

  function spoken(seconds) {
    const whole = Math.floor(seconds);
    if (seconds > 0 && seconds < 0.0995) return `${Math.round(seconds * 1000)} ms`;
    if (seconds < 10) return `${Math.max(seconds, 0).toFixed(1)} s`;
    if (whole < 60) return `${whole} s`;
    if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
    if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
    return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
  }

  // The server's clock counts: a laptop's may be wrong.
  const said = document.querySelector("meta[name='server-time']");
  const offset = said ? Date.parse(said.content) - Date.now() : 0;
  const now = () => Date.now() + offset;

  function write(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

  function tick(root = document) {
    for (const element of root.querySelectorAll("[data-ago]")) {
      if (!element.dataset.ago) {
        element.title = exact.format(Date.parse(element.dateTime)); // in the reader's own time zone
        element.dataset.ago = "told";
      }
      write(element, relative(now() - Date.parse(element.dateTime)));
    }
    for (const element of root.querySelectorAll("[data-clock]")) {
      write(element, clocks[element.dataset.clock].format(Number(element.dataset.at) * 1000));
    }
    for (const element of root.querySelectorAll("[data-since]")) {
      write(element, spoken((now() - Date.parse(element.dataset.since)) / 1000));
    }
  }

  // The marks of a time axis.
  const clocks = {
    time: new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }),
    day: new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric" }),
  };

  setInterval(tick, 1000);
  tick();
  window.orca = Object.assign(window.orca ?? {}, { tick, spoken, relative, now });
})();
