// Copy buttons beside commands. Without scripts, commands can be selected and copied by hand.
"use strict";

function selectAll(element) {
  const selection = window.getSelection();
  selection.removeAllRanges();
  const range = document.createRange();
  range.selectNodeContents(element);
  selection.addRange(range);
}

async function copy(code, button) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    // Only pages of this machine or with TLS may write to the clipboard.
    selectAll(code);
    button.textContent = document.execCommand("copy") ? "Copied" : "Press Ctrl+C";
  }
  window.setTimeout(() => { button.textContent = label; }, 2000);
}

for (const box of document.querySelectorAll(".copyable")) {
  const code = box.querySelector("code");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.setAttribute("aria-live", "polite");
  button.addEventListener("click", () => copy(code, button));
  box.append(button);
}
