// The charts below the table. They are drawn when they come near the view, and again as the page changes its width.

const charts = { draw: null, width: 0, near: false };

/** Show the charts of the lines that are shown; `go` changes the state. */
function drawCharts(host, board, lines, state, go) {
  charts.draw = () => {
    if (!host.clientWidth) return;
    charts.width = host.clientWidth;
    redraw(host, () => fill(host, frontierSection(board, lines, state, go, charts.width), curvesSection(board, lines, state, go, charts.width)));
  };
  if (!charts.watching) watch(host);
  else if (charts.near) charts.draw();
}

function watch(host) {
  charts.watching = true;
  new IntersectionObserver(([entry]) => {
    charts.near = entry.isIntersecting;
    if (charts.near) charts.draw();
  }, { rootMargin: "400px" }).observe(host);
  new ResizeObserver(() => {
    if (charts.near && host.clientWidth !== charts.width) charts.draw();
  }).observe(host);
}
