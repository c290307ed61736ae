// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { landmark } from "../src/landmarks";
import { readMarkups, writeMarkups } from "../src/markups";

const file = (points: object[], list: object = {}) =>
  JSON.stringify({ markups: [{ type: "Fiducial", ...list, controlPoints: points }] });

describe("point lists", () => {
  it("are LPS unless they say otherwise", () => {
    const point = { label: "a", position: [1, 2, 3] };
    expect(readMarkups(file([point]))[0]?.position).toEqual([-1, -2, 3]);
    expect(readMarkups(file([point], { coordinateSystem: "RAS" }))[0]?.position).toEqual([1, 2, 3]);
    expect(readMarkups(file([point], { coordinateUnits: "cm" }))[0]?.position).toEqual([-10, -20, 30]);
    expect(() => readMarkups(file([point], { coordinateSystem: "IJK" }))).toThrow("not read here");
  });

  it("tell present, absent and unknown apart", () => {
    const found = readMarkups(
      file([
        { label: "a", position: [0, 0, 0], positionStatus: "defined" },
        { label: "b", position: "", positionStatus: "undefined", description: "status=missing" },
        { label: "c", position: "", positionStatus: "undefined" },
      ]),
    );
    expect(found.map((one) => one.status)).toEqual(["present", "absent", "unknown"]);
  });

  it("carry what the model says of a point", () => {
    const description = "score=0.91 probability=0.87 radius_mm=0.5,1.1,1.4 covariance_mm2=1,0,0.5,2,0,3e-1 note=moved, radius_mm=9,9,9 said";
    const [one] = readMarkups(file([{ label: "a", position: [0, 0, 0], description }]));
    expect([one?.score, one?.probability, one?.radius]).toEqual([0.91, 0.87, 1.4]);
    expect(one?.covariance).toEqual([1, 0, 0.5, 2, 0, 0.3]);
    expect(one?.note).toBe("moved, radius_mm=9,9,9 said");
  });

  it("come back as they were written, to the last digit", () => {
    const points = [
      landmark("größte <b>Höhe</b>", [0.1 + 0.2, -1e-9, 1e5 / 3], "present"),
      landmark("gone", null, "absent"),
      landmark("?", null, "unknown"),
    ];
    expect(readMarkups(writeMarkups(points))).toEqual(points);
  });

  it("are refused when they are something else", () => {
    expect(() => readMarkups("{}")).toThrow("no list of landmarks");
    expect(() => readMarkups(file([{ label: "a", position: [1, 2] }]))).toThrow("no position");
  });
});
