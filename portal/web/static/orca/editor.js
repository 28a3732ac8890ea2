// The place where YAML is written: numbers beside its lines, marks where something is wrong, Enter keeps the indent.
(() => {
  const box = document.querySelector("[data-editor]");
  if (!box) return;
  const text = box.querySelector("[data-editor-text]");
  const numbers = box.querySelector("[data-editor-numbers]");
  const problems = document.getElementById("problems");

  function count() {
    const wanted = text.value.split("\n").length;
    while (numbers.childElementCount > wanted) numbers.lastElementChild.remove();
    const fragment = document.createDocumentFragment();
    for (let line = numbers.childElementCount + 1; line <= wanted; line += 1) {
      const mark = document.createElement("span");
      mark.textContent = line;
      fragment.append(mark);
    }
    numbers.append(fragment);
    numbers.scrollTop = text.scrollTop;
  }

  function mark() {
    numbers.querySelectorAll(".editor-wrong").forEach((line) => line.classList.remove("editor-wrong"));
    const wrong = problems.querySelectorAll("[data-problem]");
    for (const problem of wrong) numbers.children[problem.dataset.problem - 1]?.classList.add("editor-wrong");
    text.setAttribute("aria-invalid", String(wrong.length > 0));
  }

  function go(line, column) {
    const lines = text.value.split("\n");
    const before = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
    const at = before + Math.min(column - 1, lines[line - 1]?.length ?? 0);
    text.focus();
    text.setSelectionRange(at, before + (lines[line - 1]?.length ?? 0));
    const height = text.scrollHeight / lines.length;
    text.scrollTop = Math.max(0, (line - 6) * height);
  }

  text.addEventListener("input", count);
  text.addEventListener("scroll", () => {
    numbers.scrollTop = text.scrollTop;
  });
  text.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const line = text.value.slice(0, text.selectionStart).split("\n").at(-1);
    const indent = /^ *(?:- )?/.exec(line)[0].replace("-", " ");
    if (!indent) return;
    event.preventDefault();
    // The one way that the browser's own undo knows of.
    document.execCommand("insertText", false, `\n${indent}`);
  });
  problems.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("[data-go]") : null;
    if (!link) return;
    event.preventDefault();
    go(Number(link.dataset.go), Number(link.dataset.column));
  });
  document.addEventListener("htmx:afterSwap", mark);
  count();
  mark();
})();
