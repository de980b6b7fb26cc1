// The threshold of a spot report: what lies above it, and how well that fits the labels.
"use strict";
const spotted = JSON.parse(one("#spotted").textContent);
const slider = one("#threshold"), counted = one("#counted"), cut = one("#cut");

function above() { return spotted.scores.filter(score => score > +slider.value).length; }

function judge() { // scores fall, so those above come first
  const count = above(), low = +slider.min, span = +slider.max - low || 1;
  const at = (+slider.value - low) / span * 480;
  cut.setAttribute("x1", at);
  cut.setAttribute("x2", at);
  for (const card of all(".spotted")) card.classList.toggle("above", +card.dataset.place < count);
  const known = spotted.odd.slice(0, count).filter(odd => odd >= 0).length;
  const hits = spotted.odd.slice(0, count).filter(odd => odd === 1).length;
  const odd = spotted.odd.filter(odd => odd === 1).length;
  let text = `${count} of ${spotted.scores.length} images above ${(+slider.value).toFixed(3)}`;
  if (odd) text += `; ${hits} of ${odd} labelled odd are among them, ${known - hits} are labelled good`;
  counted.textContent = text;
  root.dataset.above = count;
}

if (slider) {
  slider.addEventListener("input", judge);
  one("#computed").addEventListener("click", () => { slider.value = spotted.threshold; judge(); });
  one("#above").addEventListener("click", event =>
    copyText(spotted.paths.slice(0, above()).join("\n"), event.target));
  judge();
}
root.dataset.spot = "ready";
