// Dots by the hundred thousand, drawn by the graphics card: one buffer of places, one of colours.

const VERTEX = `#version 300 es
in vec2 place;
in vec4 colour;
uniform vec2 middle, stretch;
uniform float size, strength;
out vec4 ink;
void main() {
  vec2 at = (place - middle) * stretch;
  gl_Position = vec4(at.x, -at.y, 0.0, 1.0);
  gl_PointSize = size;
  ink = vec4(colour.rgb, strength);
}`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec4 ink;
uniform float size;
out vec4 painted;
void main() {
  float away = length(gl_PointCoord - 0.5) * size;       // pixels from the middle
  float cover = clamp(size * 0.5 - away, 0.0, 1.0);      // a soft edge, one pixel wide
  painted = vec4(ink.rgb, 1.0) * ink.a * cover;          // colour is laid on already weighted
}`;

// of the faint, the plain and the chosen; of the plain where others are chosen
const STRENGTHS = [0.16, 0.85, 1], SIZES = [0.85, 1, 1.3], ASIDE = 0.4;

export class Dots {
  static on(canvas) { // null where a browser has no WebGL
    const gl = canvas.getContext("webgl2", { antialias: false, depth: false, premultipliedAlpha: true });
    return gl && new Dots(canvas, gl);
  }

  constructor(canvas, gl) {
    Object.assign(this, { canvas, gl, layers: [], count: 0 });
    this.prepare();
    canvas.addEventListener("webglcontextlost", event => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.prepare();
      if (this.held) { this.places(this.held.places); this.colours(this.held.colours); this.sorted(this.held.ranks); }
      this.restored?.();
    });
  }

  prepare() {
    const { gl } = this, program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.bindAttribLocation(program, 0, "place");
    gl.bindAttribLocation(program, 1, "colour");
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    gl.useProgram(program);
    this.told = Object.fromEntries(["middle", "stretch", "size", "strength"].map(name =>
      [name, gl.getUniformLocation(program, name)]));
    this.buffers = [gl.createBuffer(), gl.createBuffer(), gl.createBuffer()];
    gl.bindVertexArray(gl.createVertexArray());
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  places(places) { // x y x y ..., each 0 to 1
    this.count = places.length / 2;
    this.held = { ...this.held, places };
    this.fill(0, places, 2, this.gl.FLOAT, false);
    this.mixed = shuffled(this.count);
  }

  colours(colours) { // red green blue and a byte to spare for every dot
    this.held = { ...this.held, colours };
    this.fill(1, colours, 4, this.gl.UNSIGNED_BYTE, true);
  }

  fill(number, values, size, kind, share) {
    const { gl } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[number]);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(number);
    gl.vertexAttribPointer(number, size, kind, share, 0, 0);
  }

  sorted(ranks) { // a rank for every dot: 0 is not drawn, 1 is faint, 2 is plain, 3 is chosen, above all
    const { gl } = this, order = new Uint32Array(this.count);
    this.held = { ...this.held, ranks };
    this.layers = [];
    let filled = 0;
    for (let rank = 1; rank <= 3; rank++) {
      const from = filled;
      for (const row of this.mixed) if (ranks[row] === rank) order[filled++] = row;
      this.layers.push({ rank, from, count: filled - from });
    }
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.buffers[2]);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, order, gl.DYNAMIC_DRAW);
  }

  // radius in pixels of the page; a share of the dots is enough while something moves
  draw(view, radius, share = 1, picking = false) {
    const { gl, canvas } = this, ratio = window.devicePixelRatio || 1;
    const width = Math.round(view.width * ratio), height = Math.round(view.height * ratio);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    const [across, down] = view.stretch;
    gl.uniform2f(this.told.middle, view.x, view.y);
    gl.uniform2f(this.told.stretch, 2 * across / view.width, 2 * down / view.height);
    for (const { rank, from, count } of this.layers) {
      const some = Math.ceil(count * share); // in no order, so a fair sample
      if (!some) continue;
      gl.uniform1f(this.told.size, 2 * ratio * radius * SIZES[rank - 1] + 1);
      gl.uniform1f(this.told.strength, rank === 2 && picking ? ASIDE : STRENGTHS[rank - 1]);
      gl.drawElements(gl.POINTS, some, gl.UNSIGNED_INT, 4 * from);
    }
  }
}

// Every row once, in an order without meaning, so that no kind lies above another for being listed later.
function shuffled(count) {
  const order = Uint32Array.from({ length: count }, (_, row) => row);
  let state = 1;
  for (let row = count - 1; row > 0; row--) {
    state = Math.imul(state, 1664525) + 1013904223 >>> 0;
    const other = state % (row + 1);
    [order[row], order[other]] = [order[other], order[row]];
  }
  return order;
}
