// Runs before the first paint, so that a dark room never sees a white flash; prefs.js keeps the choice.
try {
  const theme = JSON.parse(localStorage.getItem("streamproc-view") ?? "{}")?.theme;
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Nothing kept, or not readable: the system's choice holds.
}
