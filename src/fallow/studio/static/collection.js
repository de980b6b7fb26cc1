// The pictures: filtered, sorted, looked at.
import { bytes, empty, get, grid } from "./parts.js";
import { state } from "./studio.js";

export async function show(root) {
  const rows = new Uint32Array(await bytes("/api/collection/order"));
  state(`${rows.length.toLocaleString("en")} pictures`);
  if (!rows.length) { root.append(empty("There are no pictures here.")); return null; }
  const pictures = grid({
    rows, name: "Collection",
    captions: async some => {
      const { rows: cells } = await get("/api/collection/rows", { rows: some.join(",") });
      return new Map(cells.map(cell => [cell.row, [cell.label ?? "", cell.path ?? ""]]));
    },
  });
  root.append(pictures.element);
  return pictures.destroy;
}
