"use strict";
const form = document.getElementById("form");
const told = document.getElementById("told");
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = Object.fromEntries(new FormData(form));
  const resets = "token" in body;
  const answer = await fetch(resets ? "reset-password" : "forgot-password", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  }).catch(() => null);
  if (answer !== null && answer.ok) {
    form.remove();
    told.textContent = resets
      ? "Done. Sign in with the new password."
      : "If this address has an account, a letter is on its way.";
    return;
  }
  const problem = answer === null ? {} : await answer.json().catch(() => ({}));
  const help = [problem.detail || problem.title || "That did not work. Try again.", ...(problem.suggestions || [])];
  told.textContent = help.join(" ");
});
