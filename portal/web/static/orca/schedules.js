// A new schedule begins with the time zone that this machine is in, where the server knows it.
(() => {
  const field = document.getElementById("id_zone");
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const known = [...document.querySelectorAll("#zones option")].some((option) => option.value === here);
  if (field && known) {
    field.value = here;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
})();
