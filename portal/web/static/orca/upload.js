// Files by picking or by dropping, whole folders too; paths travel beside the files, since forms send bare names.
(() => {
  const size = (bytes) => {
    for (const unit of ["B", "kB", "MB", "GB"]) {
      if (bytes < 1000) return `${unit === "B" || bytes >= 100 ? Math.round(bytes) : bytes.toFixed(1)} ${unit}`;
      bytes /= 1000;
    }
    return `${bytes.toFixed(1)} TB`;
  };
  const JUNK = /(^|\/)(\.git|__pycache__|\.venv|node_modules|\.ipynb_checkpoints|__MACOSX|\.DS_Store)(\/|$)/;

  async function walk(entry, prefix, found) {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      found.push([prefix + entry.name, file]);
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!batch.length) return;
      for (const inner of batch) await walk(inner, `${prefix}${entry.name}/`, found);
    }
  }

  // A single folder that was dropped is the script itself: its own name is not part of the paths.
  function unrooted(found) {
    const roots = new Set(found.map(([path]) => path.split("/")[0]));
    const nested = found.every(([path]) => path.includes("/"));
    if (!found.length || roots.size !== 1 || !nested) return found;
    return found.map(([path, file]) => [path.slice(path.indexOf("/") + 1), file]);
  }

  class Upload {
    constructor(form) {
      this.form = form;
      this.input = form.querySelector("input[type='file'][name='files']");
      this.paths = form.querySelector("input[name='paths']");
      this.zone = form.querySelector("[data-drop]");
      this.list = form.querySelector("[data-drop-files]");
      this.folder = form.querySelector("[data-drop-folder]");
      this.limit = Number(form.dataset.uploadLimit) * 1_000_000;
      this.chosen = new Map();
      form.querySelector("[data-drop-pick]")?.addEventListener("click", () => this.input.click());
      form.querySelector("[data-drop-pick-folder]")?.addEventListener("click", () => this.folder.click());
      const picked = () => this.add([...this.input.files].map((file) => [file.name, file]));
      this.input.addEventListener("change", picked);
      if (this.input.files.length) picked(); // chosen before this script was there
      this.folder?.addEventListener("change", () => {
        this.add(unrooted([...this.folder.files].map((file) => [file.webkitRelativePath || file.name, file])));
        this.folder.value = "";
      });
      for (const name of ["dragenter", "dragover"]) this.zone.addEventListener(name, (event) => this.over(event, true));
      for (const name of ["dragleave", "drop"]) this.zone.addEventListener(name, (event) => this.over(event, false));
      this.zone.addEventListener("drop", (event) => this.dropped(event));
      form.addEventListener("submit", (event) => this.send(event));
    }

    over(event, on) {
      event.preventDefault();
      this.zone.classList.toggle("drop-over", on);
    }

    async dropped(event) {
      const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
      const found = [];
      for (const entry of entries) await walk(entry, "", found);
      this.add(entries.length ? unrooted(found) : [...event.dataTransfer.files].map((file) => [file.name, file]));
    }

    add(found) {
      for (const [path, file] of found) if (!JUNK.test(path)) this.chosen.set(path, file);
      this.show();
    }

    show() {
      const transfer = new DataTransfer();
      const paths = [...this.chosen.keys()];
      this.chosen.forEach((file) => transfer.items.add(file));
      this.input.files = transfer.files;
      this.paths.value = JSON.stringify(paths);
      this.list.replaceChildren(...paths.map((path) => this.row(path)));
      const total = [...this.chosen.values()].reduce((sum, file) => sum + file.size, 0);
      const sign = this.form.querySelector("[data-drop-total]");
      if (sign) {
        const many = total > this.limit ? `, more than the ${size(this.limit)} allowed` : "";
        sign.textContent = paths.length ? `${paths.length} file${paths.length === 1 ? "" : "s"}, ${size(total)}${many}` : "";
      }
      const name = this.form.querySelector("input[name='name']");
      if (name && !name.value && paths.length) name.value = this.guess(paths);
    }

    guess(paths) {
      const first = paths.find((path) => /\.(py|sh|zip)$/.test(path)) ?? paths[0];
      return first.split("/").pop().replace(/\.\w+$/, "").replace(/[_-]+/g, " ");
    }

    row(path) {
      const item = document.createElement("li");
      const name = document.createElement("span");
      name.textContent = path;
      const bytes = document.createElement("span");
      bytes.className = "muted small nowrap";
      bytes.textContent = size(this.chosen.get(path).size);
      const remove = document.createElement("button");
      remove.type = "button";
      remove.className = "btn btn-quiet btn-small";
      remove.setAttribute("aria-label", `Leave out ${path}`);
      remove.append(window.orca.icon("x-lg"));
      remove.addEventListener("click", () => {
        this.chosen.delete(path);
        this.show();
      });
      item.append(window.orca.icon(path.endsWith(".zip") ? "file-earmark-zip" : "file-earmark"), name, bytes, remove);
      return item;
    }

    // A large upload shows how far it is; what the server answers becomes the page.
    send(event) {
      const total = [...this.chosen.values()].reduce((sum, file) => sum + file.size, 0);
      const bar = this.form.querySelector("[data-upload-bar]");
      if (!bar || total < 1_000_000) return;
      event.preventDefault();
      bar.hidden = false;
      const request = new XMLHttpRequest();
      request.open("POST", this.form.action || location.href);
      request.upload.addEventListener("progress", (step) => {
        bar.value = step.loaded / step.total;
      });
      request.addEventListener("load", () => {
        if (request.status < 400 && request.responseURL !== location.href) {
          location.assign(request.responseURL);
          return;
        }
        const page = new DOMParser().parseFromString(request.responseText, "text/html");
        const news = page.querySelector("main");
        if (news) document.querySelector("main").replaceWith(news);
        document.querySelectorAll("form[data-upload]").forEach((form) => new Upload(form));
      });
      request.addEventListener("error", () => {
        bar.hidden = true;
        delete this.form.dataset.sent;
        window.orca.toast({ message: "The upload broke off.", hint: "Try again.", level: "error" });
      });
      request.send(new FormData(this.form));
    }
  }

  document.querySelectorAll("form[data-upload]").forEach((form) => new Upload(form));
})();
