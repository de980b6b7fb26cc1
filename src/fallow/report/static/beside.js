// Before and after: how much of the upper picture is seen.
"use strict";
for (const slider of all(".beside")) {
  const upper = slider.closest("figure").querySelector(".before");
  slider.addEventListener("input", () => {
    upper.style.clipPath = `inset(0 ${100 - slider.value}% 0 0)`;
  });
}
root.dataset.beside = "ready";
