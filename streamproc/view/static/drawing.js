/** Pictures, edges, boxes and trails onto a canvas. Boxes are in pixels of the frame, whatever the picture's size. */

/** @typedef {import("./types.js").FoundObject} FoundObject */
/** @typedef {import("./frames.js").TrailPoint} TrailPoint */
/**
 * Where a frame lies on a canvas, canvas pixels; `scale` is how many of them one frame pixel takes.
 *
 * @typedef {{x: number, y: number, width: number, height: number, scale: number}} Place
 */

const BOX = "#ffd166";
const SHADE = "rgba(6, 10, 14, 0.72)";

/**
 * Where a frame lies on a canvas: whole, in the middle, with its own shape.
 *
 * @param {number} frame_width @param {number} frame_height @param {number} width @param {number} height
 * @returns {Place}
 */
export function fit(frame_width, frame_height, width, height) {
  const scale = Math.min(width / frame_width, height / frame_height);
  const [wide, high] = [frame_width * scale, frame_height * scale];
  return { x: (width - wide) / 2, y: (height - high) / 2, width: wide, height: high, scale };
}

/**
 * Draw edges in a colour over what is there: picture · (1 - e·a) + colour · e·a, with e the edge mask.
 *
 * Three native blends instead of a loop over pixels: 16 cameras at 5 pictures a second cost next to nothing.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {ImageBitmap} edges White lines on black.
 * @param {Place} place
 * @param {{colour: string, opacity: number}} look
 */
export function drawEdges(context, edges, place, look) {
  const width = Math.max(1, Math.round(place.width));
  const height = Math.max(1, Math.round(place.height));
  const mask = scratch(0, width, height);
  mask.globalCompositeOperation = "copy";
  mask.imageSmoothingQuality = "medium";
  mask.drawImage(edges, 0, 0, width, height);
  mask.globalCompositeOperation = "lighter"; // Lines of one pixel fade when they are made smaller: brighten them again.
  for (let shrunk = edges.width / width; shrunk > 1.6; shrunk /= 2) mask.drawImage(mask.canvas, 0, 0);
  const inverse = scratch(1, width, height);
  inverse.globalCompositeOperation = "copy";
  inverse.drawImage(mask.canvas, 0, 0);
  paint(inverse, "difference", "#ffffff");
  paint(mask, "multiply", look.colour);
  context.save();
  context.globalAlpha = look.opacity;
  context.globalCompositeOperation = "multiply";
  context.drawImage(inverse.canvas, place.x, place.y, place.width, place.height);
  context.globalCompositeOperation = "lighter";
  context.drawImage(mask.canvas, place.x, place.y, place.width, place.height);
  context.restore();
}

/** @param {CanvasRenderingContext2D} context @param {GlobalCompositeOperation} how @param {string} colour */
function paint(context, how, colour) {
  context.globalCompositeOperation = how;
  context.fillStyle = colour;
  context.fillRect(0, 0, context.canvas.width, context.canvas.height);
}

/** @type {CanvasRenderingContext2D[]} Two canvases for the whole page; drawing is never at two places at once. */
const scratches = [];

/** @param {number} number @param {number} width @param {number} height @returns {CanvasRenderingContext2D} */
function scratch(number, width, height) {
  let context = scratches[number];
  if (!context) {
    context = canvasContext(document.createElement("canvas"));
    scratches[number] = context;
  }
  if (context.canvas.width !== width || context.canvas.height !== height) {
    context.canvas.width = width;
    context.canvas.height = height;
  }
  return context;
}

/** @param {HTMLCanvasElement} canvas @returns {CanvasRenderingContext2D} */
export function canvasContext(canvas) {
  const context = canvas.getContext("2d", { alpha: false });
  if (!context) throw new Error("this browser has no canvas");
  return context;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Place} place
 * @param {readonly FoundObject[]} objects
 * @param {number} ratio Canvas pixels in one CSS pixel.
 */
export function drawBoxes(context, place, objects, ratio) {
  context.save();
  context.font = `600 ${11 * ratio}px Arial, "Liberation Sans", sans-serif`;
  context.textBaseline = "middle";
  for (const object of objects) {
    const [x1, y1, x2, y2] = object.box;
    const [x, y] = [place.x + x1 * place.scale, place.y + y1 * place.scale];
    const [width, height] = [(x2 - x1) * place.scale, (y2 - y1) * place.scale];
    for (const [style, line] of /** @type {[string, number][]} */ ([
      [SHADE, 3.5],
      [BOX, 1.75],
    ])) {
      context.strokeStyle = style;
      context.lineWidth = line * ratio;
      context.strokeRect(x, y, width, height);
    }
    drawLabel(context, place, words(object), x, y, height, ratio);
  }
  context.restore();
}

/** @param {FoundObject} object */
function words(object) {
  const label = object.label.length > 24 ? `${object.label.slice(0, 23)}…` : object.label;
  return object.track ? `${label} ${object.track}` : label;
}

/**
 * Above the box, inside it where there is no room.
 *
 * @param {CanvasRenderingContext2D} context @param {Place} place @param {string} text
 * @param {number} x @param {number} y @param {number} height @param {number} ratio
 */
function drawLabel(context, place, text, x, y, height, ratio) {
  const wide = context.measureText(text).width + 8 * ratio;
  const high = 16 * ratio;
  const top = y - high - ratio >= place.y ? y - high - ratio : Math.min(y + ratio, y + height);
  const left = Math.max(place.x, Math.min(x - ratio, place.x + place.width - wide));
  context.fillStyle = SHADE;
  context.fillRect(left, top, wide, high);
  context.fillStyle = BOX;
  context.fillText(text, left + 4 * ratio, top + high / 2 + ratio / 2);
}

/**
 * @param {CanvasRenderingContext2D} context @param {Place} place
 * @param {readonly TrailPoint[]} points Oldest first; older parts are fainter.
 * @param {number} ratio
 */
export function drawTrail(context, place, points, ratio) {
  context.save();
  context.lineCap = "round";
  context.strokeStyle = BOX;
  context.lineWidth = 2 * ratio;
  for (let index = 1; index < points.length; index += 1) {
    const [before, here] = [points[index - 1], points[index]];
    if (!before || !here) continue;
    context.globalAlpha = 0.15 + (0.75 * index) / points.length;
    context.beginPath();
    context.moveTo(place.x + before.x * place.scale, place.y + before.y * place.scale);
    context.lineTo(place.x + here.x * place.scale, place.y + here.y * place.scale);
    context.stroke();
  }
  context.restore();
}
