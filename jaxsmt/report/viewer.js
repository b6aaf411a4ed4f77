// Shows the maps of the page with niivue: one at a time, in three planes, in the colours and the range of its table.
(async () => {
  "use strict";
  const part = (name) => document.getElementById(`viewer-${name}`);
  const maps = JSON.parse(part("maps").textContent);
  const canvas = part("canvas");
  const low = part("low");
  const high = part("high");
  const sliders = [part("x"), part("y"), part("z")];

  const refuse = () => {
    part("body").hidden = true;
    part("fallback").hidden = false;
  };
  if (!document.createElement("canvas").getContext("webgl2") || !window.DecompressionStream) {
    refuse();
    return;
  }

  // niivue stands in the page as gzip in base64.
  const unpack = async (text) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  };
  const program = document.createElement("script");
  program.textContent = await unpack(part("niivue").textContent);
  document.head.append(program);
  part("body").hidden = false;

  const { Niivue, NVImage, SLICE_TYPE, DRAG_MODE, SHOW_RENDER } = window.niivue;
  const scene = new Niivue({
    sliceType: SLICE_TYPE.MULTIPLANAR,
    multiplanarShowRender: SHOW_RENDER.NEVER,
    dragMode: DRAG_MODE.none,
    isNearestInterpolation: true,
    isForceMouseClickToVoxelCenters: true,
    dragAndDropEnabled: false,
    crosshairColor: [0.3, 0.9, 1, 0.8],
    crosshairWidth: 0.25,
    crosshairGap: 2,
    multiplanarPadPixels: 10,
    fontMinPx: 16,
    backColor: [0, 0, 0, 1],
    fontColor: [0.8, 0.8, 0.8, 1],
    viewModeHotKey: "",
    clipPlaneHotKey: "",
    cycleClipPlaneHotKey: "",
    loadingText: "",
    logLevel: "error",
  });

  const images = [];
  let shown = 0;

  const number = (value) => Number(value.toPrecision(4)).toString();

  // Red, green and blue of a map's 256 colours, as niivue takes them.
  const table = (map) => {
    const channel = (at) => maps[map].colours.match(/../g).filter((_, i) => i % 3 === at).map((h) => parseInt(h, 16));
    const steps = Array.from({ length: 256 }, (_, i) => i);
    return { R: channel(0), G: channel(1), B: channel(2), A: steps.map((i) => (i ? 255 : 0)), I: steps };
  };

  const image = async (map) => {
    if (!images[map]) {
      scene.addColormap(`map${map}`, table(map));
      images[map] = await NVImage.loadFromBase64({ base64: maps[map].content, name: `map${map}.nii.gz` });
      images[map].colormap = `map${map}`;
    }
    return images[map];
  };

  const told = (map, value) => {
    if (value === undefined || value < map.outside + map.step / 2) return "outside the mask, or no value";
    const label = map.labels[Math.round(value)];
    return label === undefined ? number(value) : `${Math.round(value)}, ${label}`;
  };

  const place = (at) => {
    const map = maps[shown];
    const [x, y, z] = at.mm;
    const value = at.values.length ? at.values[0].value : undefined;
    part("place").textContent = `${map.title}: ${told(map, value)} at x ${number(x)}, y ${number(y)}, z ${number(z)} mm`;
    sliders.forEach((slider, i) => {
      slider.value = Math.floor(scene.scene.crosshairPos[i] * (Number(slider.max) + 1));
      slider.setAttribute("aria-valuetext", `${number(at.mm[i])} mm`);
    });
  };

  const paint = () => {
    const [from, to] = [Number(low.value), Number(high.value)];
    const volume = scene.volumes[0];
    if (!volume || !(from < to)) return;
    // The lowest of niivue's colours is transparent: it stays below the range.
    volume.cal_min = from - (to - from) / 254;
    volume.cal_max = to;
    scene.updateGLVolume();
    const codes = Object.keys(maps[shown].labels);
    const texts = codes.length ? codes : [from, to].map(number);
    part("ends").style.justifyContent = codes.length ? "space-around" : "space-between";
    part("ends").replaceChildren(
      ...texts.map((text) => Object.assign(document.createElement("span"), { textContent: text })),
    );
  };

  const legend = (map) => {
    const colours = map.colours.match(/.{6}/g);
    const stops = colours.map((colour, i) => `#${colour} ${(100 * i) / colours.length}% ${(100 * (i + 1)) / colours.length}%`);
    part("bar").style.background = `linear-gradient(to right, ${stops.join(", ")})`;
    part("description").textContent = map.description;
    canvas.setAttribute("aria-label", `${map.title} in three planes`);
  };

  const show = async (index) => {
    const next = await image(index);
    const map = maps[index];
    shown = index;
    if (scene.volumes.length) scene.removeVolume(scene.volumes[0]);
    scene.addVolume(next);
    low.value = map.low;
    high.value = map.high;
    part("range").hidden = Object.keys(map.labels).length > 0;
    paint();
    legend(map);
    sliders.forEach((slider, i) => {
      slider.max = next.dimsRAS[i + 1] - 1;
    });
    scene.createOnLocationChange();
  };

  const move = () => {
    scene.scene.crosshairPos = sliders.map((slider) => (Number(slider.value) + 0.5) / (Number(slider.max) + 1));
    scene.drawScene();
    scene.createOnLocationChange();
  };

  try {
    await scene.attachToCanvas(canvas, false);
    scene.onLocationChange = place;
    await show(0);
    move();
    part("map").addEventListener("change", (event) => show(Number(event.target.value)));
    [low, high].forEach((end) => end.addEventListener("change", paint));
    sliders.forEach((slider) => slider.addEventListener("input", move));
    canvas.dataset.ready = "yes";
  } catch (error) {
    console.error(error);
    refuse();
  }
})();
