// Places on a plane, 0 to 1 both ways: which is nearest, and which lie inside a line drawn by hand.

const LARGEST = 512; // cells along a side
const CROWD = 4; // places in a cell, on average

export class Plane {
  constructor(places) { // x y x y ...
    this.places = places;
    this.count = places.length / 2;
    const side = this.side = Math.max(1, Math.min(LARGEST, Math.floor(Math.sqrt(this.count / CROWD))));
    const cells = Uint32Array.from({ length: this.count }, (_, row) =>
      this.cell(places[2 * row + 1]) * side + this.cell(places[2 * row]));
    this.starts = new Uint32Array(side * side + 1); // rows of cell c: order[starts[c]] to order[starts[c + 1]]
    for (const cell of cells) this.starts[cell + 1] += 1;
    for (let cell = 0; cell < side * side; cell++) this.starts[cell + 1] += this.starts[cell];
    const free = this.starts.slice();
    this.order = new Uint32Array(this.count);
    cells.forEach((cell, row) => { this.order[free[cell]++] = row; });
  }

  cell(value) { return Math.min(this.side - 1, Math.max(0, Math.floor(value * this.side))); }

  *near(left, top, right, bottom) { // rows of all cells that touch a box
    for (let row = this.cell(top); row <= this.cell(bottom); row++) {
      const line = row * this.side;
      const until = this.starts[line + this.cell(right) + 1];
      for (let at = this.starts[line + this.cell(left)]; at < until; at++) yield this.order[at];
    }
  }

  // the row nearest to a place within `reach`, or -1; lengths count as `stretch` says (pixels)
  nearest(x, y, stretch, reach, fit = () => true) {
    const across = reach / stretch[0], down = reach / stretch[1];
    let best = -1, least = reach * reach;
    for (const row of this.near(x - across, y - down, x + across, y + down)) {
      const distance = ((this.places[2 * row] - x) * stretch[0]) ** 2
        + ((this.places[2 * row + 1] - y) * stretch[1]) ** 2;
      if (distance <= least && fit(row)) { least = distance; best = row; }
    }
    return best;
  }

  inside(line, fit = () => true) { // rows within a closed line [[x, y], ...], in their order
    if (line.length < 3) return new Uint32Array(0);
    const across = line.map(point => point[0]), down = line.map(point => point[1]);
    const box = [Math.min(...across), Math.min(...down), Math.max(...across), Math.max(...down)];
    const found = [];
    for (const row of this.near(...box)) {
      if (within(this.places[2 * row], this.places[2 * row + 1], line) && fit(row)) found.push(row);
    }
    return Uint32Array.from(found).sort();
  }
}

export function within(x, y, line) { // whether a ray to the right crosses the line an odd number of times
  let odd = false;
  for (let at = 0, before = line.length - 1; at < line.length; before = at++) {
    const [ax, ay] = line[at], [bx, by] = line[before];
    if (ay > y !== by > y && x < (bx - ax) * (y - ay) / (by - ay) + ax) odd = !odd;
  }
  return odd;
}

// What part of the plane a canvas shows.
export class View {
  constructor(pad = 30) { Object.assign(this, { pad, x: 0.5, y: 0.5, zoom: 1, width: 0, height: 0, farthest: 400 }); }

  get stretch() { // pixels from 0 to 1
    return [this.width, this.height].map(length => Math.max(1, length - 2 * this.pad) * this.zoom);
  }

  toPixel(x, y) {
    const [across, down] = this.stretch;
    return [(x - this.x) * across + this.width / 2, (y - this.y) * down + this.height / 2];
  }

  toPlace(px, py) {
    const [across, down] = this.stretch;
    return [this.x + (px - this.width / 2) / across, this.y + (py - this.height / 2) / down];
  }

  move(dx, dy) {
    const [across, down] = this.stretch;
    this.x -= dx / across;
    this.y -= dy / down;
    this.keep();
  }

  closer(factor, px = this.width / 2, py = this.height / 2) { // what is under the pointer stays there
    const [x, y] = this.toPlace(px, py);
    this.zoom = Math.min(this.farthest, Math.max(1, this.zoom * factor));
    const [across, down] = this.stretch;
    this.x = x - (px - this.width / 2) / across;
    this.y = y - (py - this.height / 2) / down;
    this.keep();
  }

  keep() { // the middle never leaves what there is to see
    const room = 0.5 / this.zoom;
    this.x = Math.min(1 - room, Math.max(room, this.x));
    this.y = Math.min(1 - room, Math.max(room, this.y));
  }

  whole() { Object.assign(this, { x: 0.5, y: 0.5, zoom: 1 }); }
}
