// Chooses light or dark before anything is painted: what was chosen here before, else what the system prefers.
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => {
    try {
      return localStorage.getItem("orca-theme");
    } catch {
      return null;
    }
  };
  const show = () => {
    const chosen = stored();
    const dark = chosen ? chosen === "dark" : system.matches;
    document.documentElement.dataset.bsTheme = dark ? "dark" : "light";
  };
  show();
  system.addEventListener("change", show);
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-theme-toggle]")) return;
    const next = document.documentElement.dataset.bsTheme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("orca-theme", next);
    } catch {
      // Without storage the choice lasts as long as the page.
    }
    document.documentElement.dataset.bsTheme = next;
  });
})();
