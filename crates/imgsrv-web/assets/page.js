(() => {
  "use strict";
  const copied = document.getElementById("copied");
  const write = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Without TLS there is no clipboard API.
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };
  for (const source of document.querySelectorAll("[data-copy]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", "Copy " + source.dataset.copy);
    button.addEventListener("click", async () => {
      await write(source.textContent);
      button.textContent = "Copied";
      copied.textContent = "Copied " + source.dataset.copy;
      setTimeout(() => { button.textContent = "Copy"; copied.textContent = ""; }, 2000);
    });
    (source.closest("pre") ?? source).after(button);
  }
  for (const form of document.querySelectorAll("form[data-auto]")) {
    form.addEventListener("change", (event) => { if (event.target.matches("select")) form.requestSubmit(); });
  }
  for (const table of document.querySelectorAll("table[data-filter]")) {
    const rows = [...table.tBodies[0].rows];
    if (rows.length < 8) continue;
    const label = document.createElement("label");
    label.className = "filter";
    label.textContent = table.dataset.filter + " ";
    const input = document.createElement("input");
    input.type = "search";
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/);
      for (const row of rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    });
    label.append(input);
    table.parentElement.before(label);
  }
})();
