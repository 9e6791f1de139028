// Elements made of plain values. Text enters the document as text nodes alone; nothing here reads markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element; `attributes` may hold `class`, `style` (custom properties), `on` (listeners) and plain attributes. */
function el(tag, attributes = {}, ...children) {
  return dressed(document.createElement(tag), attributes, children);
}

/** An SVG element, made the same way. */
function svg(tag, attributes = {}, ...children) {
  return dressed(document.createElementNS(SVG, tag), attributes, children);
}

function dressed(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "style") for (const [property, of] of Object.entries(value)) element.style.setProperty(property, of);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

/** Replace what an element holds. */
function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

/** Draw anew, and give the focus back to the control of the same `data-key`. */
function redraw(host, draw) {
  const key = host.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  draw();
  if (key) [...host.querySelectorAll("[data-key]")].find((one) => one.dataset.key === key)?.focus({ preventScroll: true });
}

/** A name that may break behind the signs that join its parts. */
function breakable(name) {
  return name.split(/(?<=[_+@,])/).flatMap((part, place) => (place ? [el("wbr"), part] : [part]));
}

/** Say something to people who listen to the page. */
function announce(words) {
  document.getElementById("status").textContent = words;
}

/** A button that copies a text, and says so. */
function copyButton(text, what) {
  const button = el("button", { class: "small", type: "button" }, "Copy");
  button.setAttribute("aria-label", `Copy ${what}`);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select and copy by hand";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  return button;
}

/** A button that saves bytes as a file. */
function saveButton(words, name, content, type) {
  return el("button", {
    class: "small", type: "button",
    on: {
      click: () => {
        const address = URL.createObjectURL(new Blob([content], { type }));
        el("a", { href: address, download: name }).click();
        setTimeout(() => URL.revokeObjectURL(address), 10_000);
      },
    },
  }, words);
}
