// SPDX-License-Identifier: Apache-2.0
/** Point lists of 3D Slicer, `.mrk.json`: LPS in files, RAS here. */

import type { Covariance } from "./ellipsoid";
import type { Landmark, Point, Status } from "./landmarks";

const SCHEMA =
  "https://raw.githubusercontent.com/Slicer/Slicer/main/Modules/Loadable/Markups/Resources/Schema/" +
  "markups-schema-v1.0.3.json#";
const SIGNS: Record<string, number> = { LPS: -1, "1": -1, RAS: 1, "0": 1 };
const MILLIMETRES: Record<string, number> = { mm: 1, um: 1e-3, cm: 10, m: 1000 };
const UNPLACED = ["undefined", "preview", "missing"];

interface ControlPoint {
  label: string;
  description?: unknown;
  position?: unknown;
  positionStatus?: string;
}

/** @throws Error when the text is no such file. */
export function readMarkups(text: string): Landmark[] {
  const found: Landmark[] = [];
  const lists = (JSON.parse(text) as { markups?: unknown }).markups;
  if (!Array.isArray(lists)) throw new Error("the server sent no list of landmarks.");
  for (const list of lists as Record<string, unknown>[]) {
    const units = list.coordinateUnits ?? "mm";
    const sign = SIGNS[String(list.coordinateSystem ?? "LPS")];
    const scale = MILLIMETRES[String(Array.isArray(units) ? units[0] : units)];
    if (sign === undefined || scale === undefined)
      throw new Error(`points in ${String(list.coordinateSystem)} and ${String(units)} are not read here.`);
    for (const item of (list.controlPoints ?? []) as ControlPoint[])
      found.push(readPoint(item, sign * scale, scale));
  }
  return found;
}

function readPoint(item: ControlPoint, flat: number, up: number): Landmark {
  const told = typeof item.description === "string" ? item.description : "";
  const at = told.search(/(?<!\S)note=/);
  const numbers = at < 0 ? told : told.slice(0, at);
  const position = placed(item);
  const absent = /\bstatus=missing\b/.test(numbers) || item.positionStatus === "missing";
  const status: Status = position !== null ? "present" : absent ? "absent" : "unknown";
  return {
    name: item.label,
    position: position && [flat * position[0], flat * position[1], up * position[2]],
    status,
    score: number(numbers, /\bscore=([0-9.eE+-]+)/),
    radius: number(numbers, /\bradius_mm=[0-9.eE+-]+,[0-9.eE+-]+,([0-9.eE+-]+)/),
    probability: number(numbers, /\bprobability=([0-9.eE+-]+)/),
    covariance: covarianceIn(numbers),
    note: at < 0 ? "" : told.slice(at + "note=".length).trim(),
  };
}

function covarianceIn(numbers: string): Covariance | null {
  const found = /\bcovariance_mm2=([0-9.eE+,-]+)/.exec(numbers)?.[1]?.split(",").map(Number) ?? [];
  return found.length === 6 && found.every(Number.isFinite) ? (found as unknown as Covariance) : null;
}

function placed(item: ControlPoint): Point | null {
  const position = item.position;
  if (!Array.isArray(position) || UNPLACED.includes(item.positionStatus ?? "defined")) return null;
  if (position.length !== 3 || !position.every(Number.isFinite))
    throw new Error(`${item.label}: ${JSON.stringify(position)} is no position.`);
  return position as unknown as Point;
}

function number(text: string, pattern: RegExp): number | null {
  const found = pattern.exec(text)?.[1];
  return found === undefined || !Number.isFinite(Number(found)) ? null : Number(found);
}

/** A file that the server accepts; positions as they are, never rounded. */
export function writeMarkups(landmarks: readonly Landmark[]): string {
  const controlPoints = landmarks.map((one, index) => ({
    id: String(index + 1),
    label: one.name,
    description: [
      ...(one.score === null ? [] : [`score=${one.score}`]),
      ...(one.status === "absent" ? ["status=missing"] : []),
    ].join(" "),
    position: one.position === null ? "" : [-one.position[0], -one.position[1], one.position[2]],
    positionStatus: one.position === null ? "undefined" : "defined",
  }));
  const list = { type: "Fiducial", coordinateSystem: "LPS", coordinateUnits: "mm", controlPoints };
  return JSON.stringify({ "@schema": SCHEMA, markups: [list] }, null, 1);
}
