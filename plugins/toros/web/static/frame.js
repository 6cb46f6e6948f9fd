// The pages work without this. Inside Airflow it takes over the light or dark colours that were chosen there,
// and opens Airflow's own pages in the whole window instead of in our frame.
"use strict";

function takeOverColours() {
  let theme = null;
  try {
    theme = localStorage.getItem("theme");
  } catch {
    // no access to Airflow's choice: the system's colours then
  }
  if (theme === "light" || theme === "dark") {
    document.documentElement.dataset.theme = theme;
  } else {
    delete document.documentElement.dataset.theme;
  }
}

function openOutside(event) {
  const link = event.target.closest("a[data-airflow]");
  if (link === null || window.parent === window || event.ctrlKey || event.metaKey || event.shiftKey) {
    return;
  }
  event.preventDefault();
  // A frame may not send its window elsewhere; a link that belongs to the window may.
  const outside = window.parent.document.createElement("a");
  outside.href = link.href;
  outside.click();
}

takeOverColours();
window.addEventListener("storage", takeOverColours);
document.addEventListener("click", openOutside);
