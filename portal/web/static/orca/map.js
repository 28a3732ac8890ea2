// A map without a tile server: the outline of the land, the box that is asked for, and the footprints of a preview.
// The box lives in the form's four fields; drawing writes them, typing draws it.
(() => {
  const element = document.querySelector("[data-map]");
  if (!element || !window.L) return;
  const L = window.L;
  const SIDES = ["west", "south", "east", "north"];
  const fields = SIDES.map((side) => document.querySelector(`[name="${side}"]`));
  const draw = document.querySelector("[data-map-draw]");
  const clear = document.querySelector("[data-map-clear]");
  const hint = document.querySelector("[data-map-hint]");

  const map = L.map(element, {
    attributionControl: false,
    zoomSnap: 0.25,
    minZoom: 0,
    maxZoom: 14,
    maxBounds: [[-88, -420], [88, 420]],
    maxBoundsViscosity: 0.8,
    renderer: L.svg({ padding: 0.6 }),
  }).setView([12, 0], 0.5);
  L.control.scale({ imperial: false, position: "bottomright" }).addTo(map);

  // Three worlds side by side, so that what lies over the antimeridian is whole.
  const shift = (points, by) => points.map((part) =>
    typeof part[0] === "number" ? [part[0] + by, part[1]] : shift(part, by));

  fetch(element.dataset.land).then((answer) => answer.json()).then((land) => {
    for (const by of [-360, 0, 360]) {
      L.geoJSON({ type: land.type, coordinates: shift(land.coordinates, by) }, {
        interactive: false,
        style: { className: "map-land", stroke: true, weight: 1 },
      }).addTo(map).bringToBack();
    }
  }).catch(() => window.orca.toast({ message: "The map's outline could not be fetched.", level: "warning" }));
  for (let at = -510; at <= 510; at += 30) {
    L.polyline([[-85, at], [85, at]], { interactive: false, className: "map-line", weight: 1 }).addTo(map);
  }
  for (let at = -60; at <= 60; at += 30) {
    L.polyline([[at, -540], [at, 540]], { interactive: false, className: "map-line", weight: 1 }).addTo(map);
  }

  // --- the box ------------------------------------------------------------------------------------------------
  let box = null;

  function asked() {
    const values = fields.map((field) => (field?.value.trim() ? Number(field.value) : NaN));
    return values.every(Number.isFinite) ? values : null;
  }

  function bounds([west, south, east, north]) {
    return [[south, west], [north, east < west ? east + 360 : east]];
  }

  function show({ fit = false } = {}) {
    const values = asked();
    clear.hidden = !fields.some((field) => field?.value);
    box?.remove();
    box = values && L.rectangle(bounds(values), { className: "map-box", weight: 2, interactive: false }).addTo(map);
    if (box && fit) map.fitBounds(box.getBounds(), { padding: [30, 30], maxZoom: 7 });
  }

  const wrap = (degrees) => ((((degrees + 180) % 360) + 360) % 360) - 180;
  const round = (degrees) => Number(degrees.toFixed(4));

  function write(area) {
    const west = round(wrap(area.getWest()));
    const wide = area.getEast() - area.getWest();
    const east = wide >= 360 ? 180 : round(wrap(area.getWest() + wide));
    const limit = (degrees) => round(Math.max(-90, Math.min(90, degrees)));
    [wide >= 360 ? -180 : west, limit(area.getSouth()), east, limit(area.getNorth())].forEach((value, index) => {
      fields[index].value = value;
    });
    fields[0].dispatchEvent(new Event("change", { bubbles: true }));
    show();
  }

  fields.forEach((field) => field?.addEventListener("input", () => show({ fit: true })));
  clear.addEventListener("click", () => {
    fields.forEach((field) => { field.value = ""; });
    fields[0].dispatchEvent(new Event("change", { bubbles: true }));
    show();
  });

  // --- drawing it -----------------------------------------------------------------------------------------------
  let drawing = false;
  let corner = null;

  function mode(on) {
    drawing = on;
    corner = null;
    draw.setAttribute("aria-pressed", String(on));
    element.classList.toggle("map-drawing", on);
    hint.hidden = !on;
    map.dragging[on ? "disable" : "enable"]();
    map.doubleClickZoom[on ? "disable" : "enable"]();
  }

  draw.addEventListener("click", () => mode(!drawing));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !drawing) return;
    mode(false);
    show();
  });
  element.addEventListener("pointerdown", (event) => {
    if (!drawing || event.button !== 0 || event.target.closest(".leaflet-control")) return;
    corner = map.mouseEventToLatLng(event);
    element.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  element.addEventListener("pointermove", (event) => {
    if (!corner) return;
    const area = L.latLngBounds(corner, map.mouseEventToLatLng(event));
    box?.remove();
    box = L.rectangle(area, { className: "map-box", weight: 2, interactive: false }).addTo(map);
  });
  element.addEventListener("pointerup", (event) => {
    if (!corner) return;
    const area = L.latLngBounds(corner, map.mouseEventToLatLng(event));
    const [a, b] = [map.latLngToContainerPoint(corner), map.mouseEventToContainerPoint(event)];
    mode(false);
    if (a.distanceTo(b) > 6) write(area);
    else show();
  });

  // --- footprints -----------------------------------------------------------------------------------------------
  let prints = null;

  // What lies over the antimeridian is drawn on one side of it.
  function whole(rings) {
    const longitudes = rings.flat().map(([longitude]) => longitude);
    if (Math.max(...longitudes) - Math.min(...longitudes) <= 180) return rings;
    return rings.map((ring) => ring.map(([longitude, latitude]) => [longitude < 0 ? longitude + 360 : longitude, latitude]));
  }

  function shapes({ geometry, bbox }) {
    if (geometry?.type === "Polygon") return [whole(geometry.coordinates)];
    if (geometry?.type === "MultiPolygon") return geometry.coordinates.map(whole);
    if (geometry?.type === "Point") return [geometry.coordinates];
    if (!Array.isArray(bbox) || ![4, 6].includes(bbox.length)) return [];
    const [west, south, east, north] = bbox.length === 6 ? [bbox[0], bbox[1], bbox[3], bbox[4]] : bbox;
    const end = east < west ? east + 360 : east;
    return [[[[west, south], [end, south], [end, north], [west, north]]]];
  }

  // What stands in a catalogue is text, whatever it looks like.
  function said({ id, datetime }) {
    const place = document.createElement("span");
    place.textContent = [id, datetime?.slice(0, 16).replace("T", " ")].filter(Boolean).join(" · ");
    return place;
  }

  function footprints(items) {
    prints?.remove();
    prints = L.featureGroup();
    for (const item of items) {
      for (const shape of shapes(item)) {
        const point = typeof shape[0] === "number";
        const flip = ([longitude, latitude]) => [latitude, longitude];
        const drawn = point
          ? L.circleMarker(flip(shape), { radius: 4, className: "map-print", weight: 1 })
          : L.polygon(shape.map((ring) => ring.map(flip)), { className: "map-print", weight: 1 });
        drawn.bindTooltip(said(item), { sticky: true, direction: "top", className: "map-tip" }).addTo(prints);
      }
    }
    prints.addTo(map);
    if (prints.getLayers().length) map.fitBounds(prints.getBounds(), { padding: [24, 24], maxZoom: 9 });
  }

  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.target.id !== "job-preview") return;
    const found = document.getElementById("footprints");
    footprints(found ? JSON.parse(found.textContent) : []);
  });

  // A map that was hidden does not know how large it is.
  new ResizeObserver(() => map.invalidateSize({ animate: false })).observe(element);
  show({ fit: true });
})();
