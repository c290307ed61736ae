// SPDX-License-Identifier: Apache-2.0
/** An image in three planes and 3D, by NiiVue; and where millimetres lie on the screen. */

import { DRAG_MODE, Niivue, SHOW_RENDER, SLICE_TYPE } from "@niivue/niivue";
import type { Point } from "./landmarks";

export type Plane = "axial" | "coronal" | "sagittal";

const TYPES: Record<Plane, SLICE_TYPE> = {
  axial: SLICE_TYPE.AXIAL,
  coronal: SLICE_TYPE.CORONAL,
  sagittal: SLICE_TYPE.SAGITTAL,
};
/** The axis that a plane is perpendicular to. */
export const NORMAL: Record<Plane, 0 | 1 | 2> = { sagittal: 0, coronal: 1, axial: 2 };

const SAME_MM = 0.01; // by which two readers may differ about the far corner
const MOST_IN_SOFTWARE = 4e6; // voxels
const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i; // of Chrome, Linux, Windows
const GAP = 0.04; // of the image's extent, that the crosshair leaves free around what it points to

/** A plane on the screen: CSS pixels of the canvas. */
export interface Tile {
  readonly plane: Plane;
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

export class Viewer {
  private readonly niivue: Niivue;
  /** Called whenever the picture has changed. */
  onDrawn: () => void = () => {};
  /** Called with where the crosshair is, RAS mm. */
  onMoved: (at: Point) => void = () => {};

  private constructor(private readonly canvas: HTMLCanvasElement) {
    this.niivue = new Niivue({
      backColor: [0.055, 0.067, 0.082, 1],
      crosshairColor: [0.35, 0.55, 0.75, 0.55],
      crosshairWidth: 0.25,
      crosshairWidthUnit: "percent",
      dragAndDropEnabled: false,
      dragMode: DRAG_MODE.windowing,
      isColorbar: false,
      isSliceMM: true,
      loadingText: "",
      logLevel: "error",
      multiplanarShowRender: SHOW_RENDER.NEVER,
      show3Dcrosshair: true,
    });
  }

  static async on(canvas: HTMLCanvasElement): Promise<Viewer> {
    const viewer = new Viewer(canvas);
    await viewer.niivue.attachToCanvas(canvas);
    viewer.niivue.setSliceType(SLICE_TYPE.MULTIPLANAR);
    skipGradients(viewer.niivue);
    viewer.niivue.onLocationChange = (location: unknown) => {
      const [x, y, z] = (location as { mm: number[] }).mm;
      viewer.onMoved([x ?? 0, y ?? 0, z ?? 0]);
    };
    const draw = viewer.niivue.drawScene.bind(viewer.niivue);
    viewer.niivue.drawScene = () => {
      draw();
      viewer.onDrawn();
    };
    return viewer;
  }

  /**
   * Show another image.
   * @param content a NIfTI file, compressed or not.
   * @param affine its geometry, as the server reads it.
   * @throws Error when it is read differently here: points would lie elsewhere than they seem to.
   */
  async show(content: ArrayBuffer, name: string, affine: readonly (readonly number[])[]): Promise<void> {
    this.forget();
    this.niivue.opts.multiplanarShowRender = SHOW_RENDER.NEVER; // the planes come first
    const [first, second] = new Uint8Array(content, 0, 2);
    const packed = first === 0x1f && second === 0x8b;
    await this.niivue.loadFromArrayBuffer(content, `${name}.nii${packed ? ".gz" : ""}`);
    const shown = this.niivue.volumes[0];
    const read = shown?.hdr?.affine ?? [];
    const far = [...(shown?.hdr?.dims ?? []).slice(1, 4), 1];
    const apart = affine.map((row, i) => row.map((one, j) => Math.abs(one - (read[i]?.[j] ?? NaN)) * (far[j] ?? 1)));
    if (affine.length === 0 || !apart.flat().every((mm) => mm <= SAME_MM)) {
      this.clear();
      throw new Error(`${name}: this page reads where the image lies differently. It is not shown: use Slicer for it.`);
    }
    const [across, along, up] = (shown?.dimsRAS ?? []).slice(1, 4);
    const extent = Math.max(across ?? 1, along ?? 1, up ?? 1) * this.voxel;
    this.niivue.opts.crosshairGap = GAP * extent;
    const voxels = far.reduce((product, one) => product * one, 1);
    if (voxels <= MOST_IN_SOFTWARE || !this.inSoftware) this.showSolid(true);
  }

  /** Whether the image is shown in 3D, too. */
  get solid(): boolean {
    return this.niivue.opts.multiplanarShowRender === SHOW_RENDER.ALWAYS;
  }

  showSolid(shown: boolean): void {
    this.niivue.opts.multiplanarShowRender = shown ? SHOW_RENDER.ALWAYS : SHOW_RENDER.NEVER;
    this.niivue.drawScene();
  }

  /** Whether there is no graphics card: planes are quick then, and a large image in 3D takes seconds. */
  private get inSoftware(): boolean {
    const gl = this.niivue.gl;
    const told = gl.getExtension("WEBGL_debug_renderer_info");
    const name = String(gl.getParameter(told === null ? gl.RENDERER : told.UNMASKED_RENDERER_WEBGL));
    return SOFTWARE.test(name);
  }

  clear(): void {
    this.forget();
    this.niivue.drawScene();
  }

  private forget(): void {
    for (const old of [...this.niivue.volumes]) this.niivue.removeVolume(old);
  }

  get shown(): boolean {
    return this.niivue.volumes.length > 0;
  }

  /** Smallest edge of a voxel, mm. */
  get voxel(): number {
    const edges = this.niivue.volumes[0]?.pixDims?.slice(1, 4) ?? [1];
    return Math.min(...edges);
  }

  /** Grey values that are black and white now, and all there are. */
  get window(): { low: number; high: number; least: number; most: number } {
    const image = this.niivue.volumes[0];
    const [least, most] = [image?.global_min ?? 0, image?.global_max ?? 1];
    return { low: image?.cal_min ?? least, high: image?.cal_max ?? most, least, most };
  }

  setWindow(low: number, high: number): void {
    const image = this.niivue.volumes[0];
    if (image === undefined || !(high > low)) return;
    image.cal_min = low;
    image.cal_max = high;
    this.niivue.updateGLVolume();
  }

  /** Black and white as they were when the image was opened: without the rarest values. */
  resetWindow(): void {
    const image = this.niivue.volumes[0];
    if (image !== undefined) this.setWindow(image.robust_min ?? 0, image.robust_max ?? 1);
  }

  /** How many channels the image has. */
  get channels(): number {
    return this.niivue.volumes[0]?.nFrame4D ?? 1;
  }

  /** Show another channel, in the window that suits it. */
  showChannel(number: number): void {
    const image = this.niivue.volumes[0];
    if (image === undefined) return;
    this.niivue.setFrame4D(image.id, number);
    image.calMinMax(number);
    this.niivue.updateGLVolume();
  }

  /** Centre all planes. */
  jump(to: Point): void {
    if (!this.shown) return;
    this.niivue.scene.crosshairPos = this.niivue.mm2frac([...to]);
    this.niivue.drawScene();
    this.onMoved(to);
  }

  get crosshair(): Point {
    const at = this.niivue.frac2mm(this.niivue.scene.crosshairPos);
    return [at[0], at[1], at[2]];
  }

  /** The planes there are on the screen. */
  tiles(): Tile[] {
    const ratio = this.ratio;
    const found: Tile[] = [];
    for (const slice of this.niivue.screenSlices) {
      const plane = (Object.keys(TYPES) as Plane[]).find((one) => TYPES[one] === slice.axCorSag);
      const [left, top, width, height] = slice.leftTopWidthHeight.map((value) => value / ratio);
      if (plane !== undefined && left !== undefined && top !== undefined && width && height)
        found.push({ plane, left, top, width, height });
    }
    return found;
  }

  /** Where a point lies on a plane's tile, CSS pixels; null where it does not. */
  toScreen(point: Point, plane: Plane): { x: number; y: number } | null {
    if (!this.shown) return null;
    const found = this.niivue.frac2canvasPosWithTile(this.niivue.mm2frac([...point]), TYPES[plane]);
    const [x, y] = found?.pos ?? [];
    return x === undefined || y === undefined ? null : { x: x / this.ratio, y: y / this.ratio };
  }

  /** What lies under a CSS pixel of the canvas, RAS mm in the plane that is shown there; null beside all planes. */
  toPoint(x: number, y: number): Point | null {
    if (!this.shown) return null;
    const fraction = this.niivue.canvasPos2frac([x * this.ratio, y * this.ratio]);
    if ((fraction[0] ?? -1) < 0) return null;
    const at = this.niivue.frac2mm(fraction);
    return [at[0], at[1], at[2]];
  }

  /** The tile under a CSS pixel. */
  tileAt(x: number, y: number): Tile | null {
    return (
      this.tiles().find(
        (tile) => x >= tile.left && x < tile.left + tile.width && y >= tile.top && y < tile.top + tile.height,
      ) ?? null
    );
  }

  private get ratio(): number {
    return this.canvas.width / Math.max(1, this.canvas.clientWidth);
  }
}

/**
 * Make NiiVue draw nothing where it would compute gradients of the image, which only lit 3D views need: without a
 * graphics card they take most of the time until an image is seen, and at every change of the window again.
 */
function skipGradients(niivue: Niivue): void {
  const gl = niivue.gl;
  const program = gl.createProgram();
  for (const [kind, source] of [
    [gl.VERTEX_SHADER, "#version 300 es\nvoid main() { gl_Position = vec4(2.0, 2.0, 2.0, 1.0); }"],
    [gl.FRAGMENT_SHADER, "#version 300 es\nprecision lowp float; out vec4 c; void main() { c = vec4(0.0); }"],
  ] as const) {
    const shader = gl.createShader(kind);
    if (shader === null || program === null) return;
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  const nothing = { program, uniforms: {}, use: () => gl.useProgram(program) };
  Object.assign(niivue, { blurShader: nothing, sobelFirstOrderShader: nothing });
  // It asks after each slice, and waits for the answer, which it would only log.
  gl.checkFramebufferStatus = () => gl.FRAMEBUFFER_COMPLETE;
}
