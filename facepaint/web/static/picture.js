const zone = element.querySelector(".fp-picture"), file = element.querySelector(".file");
const status = element.querySelector(".fp-status"), picture = element.querySelector("img");
const take = async (blob, name) => {
  try {
    const opened = await window.facepaint.open(blob, name);
    status.textContent = opened.faces ? name : `${name} shows no face`;
    picture.src = `/studio/photos/${opened.key}/before`;
    picture.hidden = false;
    trigger("opened", { key: opened.key });
  } catch (error) {
    status.textContent = error.message;
  }
};
element.querySelector(".choose").onclick = () => file.click();
file.onchange = () => {
  if (file.files[0]) take(file.files[0], file.files[0].name);
  file.value = "";
};
window.facepaint.dropping(zone, take);
for (const name of ["drop", "dragover", "dragenter"]) zone.addEventListener(name, (event) => event.stopPropagation());
