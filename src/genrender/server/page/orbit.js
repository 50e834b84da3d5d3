// The viewer's own camera as the server takes it: angles in degrees, distance 1 where the whole clip fills the picture.

const STEEPEST_DEG = 89;

export const HOME = {
  azimuth_deg: 35,
  elevation_deg: 18,
  distance: 1,
  pan: [0, 0],
  yfov_deg: 40,
  is_orthographic: false,
};

const minus = (a, b) => a.map((value, i) => value - b[i]);
const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
const degrees = (radians) => (radians * 180) / Math.PI;

/** Half the height of what a camera sees at its target, in scene units. */
function halfHeight(camera) {
  const away = Math.hypot(...minus(camera.eye, camera.target));
  return camera.ymag ?? away * Math.tan((camera.yfov_deg * Math.PI) / 360);
}

/**
 * The viewer's camera that stands where another one does.
 *
 * @param {object} camera eye, target, yfov_deg, ymag, as in X-View
 * @param {object} home where the viewer's camera of distance 1 without pan stands with the same lens
 */
export function orbitOf(camera, home) {
  const away = minus(camera.eye, camera.target);
  const distance = Math.hypot(...away);
  const azimuth = Math.atan2(away[0], away[2]);
  const elevation = Math.asin(away[1] / distance);
  const right = [Math.cos(azimuth), 0, -Math.sin(azimuth)];
  const up = [
    -Math.sin(elevation) * Math.sin(azimuth),
    Math.cos(elevation),
    -Math.sin(elevation) * Math.cos(azimuth),
  ];
  const moved = minus(camera.target, home.target);
  const unit = halfHeight(camera);
  return {
    azimuth_deg: degrees(azimuth),
    elevation_deg: Math.max(-STEEPEST_DEG, Math.min(STEEPEST_DEG, degrees(elevation))),
    distance: camera.ymag ? camera.ymag / home.ymag : distance / Math.hypot(...minus(home.eye, home.target)),
    pan: [dot(moved, right) / unit, dot(moved, up) / unit],
    yfov_deg: camera.yfov_deg ?? 40,
    is_orthographic: Boolean(camera.ymag),
  };
}

/** Turned by a drag, in heights of the picture: a whole height turns by half a circle. */
export function turned(orbit, right, down) {
  const elevation = orbit.elevation_deg + down * 180;
  return {
    ...orbit,
    azimuth_deg: ((orbit.azimuth_deg - right * 180 + 540) % 360) - 180,
    elevation_deg: Math.max(-STEEPEST_DEG, Math.min(STEEPEST_DEG, elevation)),
  };
}

/** Nearer for negative, farther for positive amounts; 1 is about a notch of a wheel. */
export function dollied(orbit, amount) {
  return { ...orbit, distance: Math.max(0.05, Math.min(20, orbit.distance * 1.1 ** amount)) };
}

/** Moved by a drag, in heights of the picture: what is seen follows the hand. */
export function panned(orbit, right, down) {
  return { ...orbit, pan: [orbit.pan[0] - 2 * right, orbit.pan[1] + 2 * down] };
}
