// What the theme leaves out for those who use a keyboard or a screen reader.
window.addEventListener("load", () => {
  for (const box of document.querySelectorAll("pre, table")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  }
  const names = { ".sidebar-drawer": "Site", ".toc-drawer": "This page" };
  for (const [where, name] of Object.entries(names)) {
    document.querySelector(where)?.setAttribute("aria-label", name);
  }
  for (const link of document.querySelectorAll(".sphx-glr-thumbcontainer a")) {
    link.setAttribute("aria-label", link.textContent);
  }
});
