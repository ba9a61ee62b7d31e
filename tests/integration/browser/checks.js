// Accessibility rules for the elements of a page, similar to axe. Returns the violations.
(() => {
  const faults = [];
  const describe = (element) => `<${element.localName} id="${element.id}"> ${element.textContent.trim().slice(0, 30)}`;
  // The page clips elements that are for screen readers only.
  const clipped = (element) => element && (getComputedStyle(element).clipPath !== "none" || clipped(element.parentElement));
  const visible = (element) => element.checkVisibility({ visibilityProperty: true }) && !clipped(element);

  for (const element of document.querySelectorAll("a[href], button, input, select, textarea")) {
    if (!visible(element)) continue;
    const name = element.ariaLabel || element.labels?.[0]?.textContent || element.textContent;
    if (!name.trim()) faults.push(`no name: ${describe(element)}`);
    const { width, height } = element.getBoundingClientRect();
    if (element.localName !== "a" && Math.min(width, height) < 24) faults.push(`too small: ${describe(element)}`);
    if (element.tabIndex > 0) faults.push(`out of order: ${describe(element)}`);
    if (element.closest("[aria-hidden=true]")) faults.push(`hidden, but focusable: ${describe(element)}`);
  }
  for (const element of document.querySelectorAll("svg:not([hidden])")) {
    if (element.ariaHidden !== "true" && !element.ariaLabel) faults.push(`image without a label: ${describe(element)}`);
  }
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  if (new Set(ids).size < ids.length) faults.push("duplicate id");

  // Contrast of every text with its background: 4.5, or 3 for large text (WCAG 2, 1.4.3).
  const rgb = (colour) => colour.match(/[\d.]+/g).map(Number);
  const linear = (value) => (value <= 10.31475 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const brightness = ([red, green, blue]) => 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
  function background(element) {
    for (let ancestor = element; ancestor; ancestor = ancestor.parentElement) {
      const colour = rgb(getComputedStyle(ancestor).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  }
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !visible(element) || element.closest("noscript, template, svg")) continue;
    const edge = element.closest("section, body").getBoundingClientRect().right;
    if (element.getBoundingClientRect().right > edge) faults.push(`cut off: ${describe(element)}`);
    const style = getComputedStyle(element);
    const [dark, light] = [brightness(rgb(style.color)), brightness(background(element))].sort((a, b) => a - b);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const contrast = (light + 0.05) / (dark + 0.05);
    if (contrast < (large ? 3 : 4.5)) faults.push(`contrast ${contrast.toFixed(2)}: ${describe(element)}`);
  }
  return faults;
})();
