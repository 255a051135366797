// Keys of the console. No single key decides anything: keys move, open, take and fill in; only
// Ctrl+Enter sends, and only a form that is complete. They rest while a field has the focus or an
// input method composes.
(() => {
  "use strict";

  const rows = () => [...document.querySelectorAll("tr[data-open]")];
  let composing = false;
  document.addEventListener("compositionstart", () => { composing = true; });
  document.addEventListener("compositionend", () => { composing = false; });

  const isField = (element) =>
    element instanceof HTMLElement &&
    (element.isContentEditable || element.matches("input:not([type=radio]):not([type=checkbox]), textarea, select"));

  const move = (by) => {
    const all = rows();
    if (!all.length) return;
    const now = all.findIndex((row) => row.classList.contains("at"));
    const next = Math.min(Math.max(now + by, 0), all.length - 1);
    all.forEach((row, k) => {
      row.classList.toggle("at", k === next);
      if (k === next) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    });
    const link = all[next].querySelector("a");
    if (link) link.focus({ preventScroll: true });
    all[next].scrollIntoView({ block: "nearest" });
  };

  const here = () => document.querySelector("tr[data-open].at");

  const send = (form) => {
    const next = form.querySelector("input[name=and_next]");
    if (next) next.value = "yes";
    // asks the browser to check the form first: what is incomplete stays
    form.requestSubmit();
  };

  document.addEventListener("keydown", (event) => {
    if (event.isComposing || composing || event.keyCode === 229) return;
    if ((event.ctrlKey || event.metaKey) && event.key === "Enter") {
      const form = document.querySelector("form[data-decide]");
      if (form && (form.contains(document.activeElement) || !isField(document.activeElement))) {
        event.preventDefault();
        send(form);
      }
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || isField(event.target)) return;
    const help = document.getElementById("help");
    if (help && help.open) return;
    if (event.key === "j" || event.key === "k") {
      event.preventDefault();
      move(event.key === "j" ? 1 : -1);
    } else if (event.key === "Enter") {
      const row = here();
      if (row && !(event.target instanceof HTMLButtonElement) && !(event.target instanceof HTMLAnchorElement)) {
        event.preventDefault();
        window.location.assign(row.dataset.open);
      }
    } else if (event.key === "a") {
      const take = document.querySelector("tr[data-open].at [data-take], [data-take-here]");
      if (take) { event.preventDefault(); take.click(); }
    } else if (event.key === "w") {
      const link = document.querySelector("[data-what-if]");
      if (link) { event.preventDefault(); link.click(); }
    } else if (/^[1-9]$/.test(event.key)) {
      const list = document.querySelector("select[data-reasons]");
      const choice = list && [...list.options].filter((option) => option.value)[Number(event.key) - 1];
      if (choice) {
        event.preventDefault();
        list.value = choice.value;
        const act = document.querySelector("input[name=action][value=override]");
        if (act) { act.checked = true; act.dispatchEvent(new Event("change", { bubbles: true })); }
        list.focus();
      }
    } else if (event.key === "?") {
      if (help) { event.preventDefault(); help.showModal(); }
    }
  });

  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    if (!target) return;
    if (target.closest("#help-open")) document.getElementById("help").showModal();
    if (target.closest("[data-print]")) window.print();
  });

  // the fields of an override are asked for only where an override is chosen
  const shown = () => {
    const chosen = document.querySelector("input[name=action]:checked");
    document.querySelectorAll("[data-for]").forEach((part) => {
      const on = Boolean(chosen) && part.dataset.for.split(" ").includes(chosen.value);
      part.hidden = !on;
      part.querySelectorAll("input, select, textarea").forEach((field) => { field.disabled = !on; });
    });
  };
  document.addEventListener("change", (event) => {
    if (event.target instanceof HTMLInputElement && event.target.name === "action") shown();
  });
  document.addEventListener("DOMContentLoaded", shown);
})();
