// The log of rows that were replaced or retracted, and what can be taken along.

function ledgerLog(ledger, address) {
  if (!ledger) return null;
  const entries = ledger.gone.toReversed().map((event) => el("li", {},
    el("time", { datetime: event.at }, event.at.slice(0, 10)),
    el("span", {}, event.kind === "retract"
      ? [rowLink(event.row, address), " was retracted: "]
      : [rowLink(event.supersedes, address), " was replaced by ", rowLink(event.row, address), ": "],
    el("q", {}, event.reason))));
  return el("section", {},
    el("h2", {}, "Retracted and replaced"),
    entries.length ? el("ol", { class: "log" }, entries) : el("p", {}, "No row has been taken off this board."),
    el("p", { class: "soft" }, `The ledger has ${plural(ledger.entries, "entry", "entries")}, each with the digest of the one before; the last is `, el("code", { class: "hash" }, ledger.head), "."));
}

function rowLink({ row, arm }, address) {
  return [el("a", { href: address(row) }, arm), " ", el("code", { class: "hash" }, short(row))];
}

function downloads(files) {
  return files.length ? el("section", {}, el("h2", {}, "Take it along"),
    el("ul", { class: "downloads" }, files.map(({ name, about }) => el("li", {}, el("a", { href: name, download: true }, name), el("span", { class: "soft" }, about))))) : null;
}
