// Line charts in SVG: a few hundred points, drawn anew with each refresh.

import { h, number } from './dom.js';

const width = 480, height = 120, left = 44, right = 8, top = 10, bottom = 18;

// series: [{ name, values }], all of one length, oldest first; a value may be null. `seconds` is the time between two
// values.
export function chart(title, series, { seconds, unit = '' }) {
  const values = series.flatMap(one => one.values.filter(value => value !== null));
  const most = ceiling(Math.max(0, ...values));
  const count = Math.max(2, ...series.map(one => one.values.length));
  const x = i => left + (width - left - right) * i / (count - 1);
  const y = value => top + (height - top - bottom) * (1 - value / most);
  const latest = series.map(one => {
    const value = one.values.findLast(each => each !== null) ?? null;
    return `${one.name} ${number(value === null ? null : round(value))}${value === null ? '' : unit}`;
  }).join(', ');
  return h('figure', { class: 'chart' },
    h('figcaption', {}, h('b', {}, title), ' ', h('span', { class: 'dim' }, latest)),
    h('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': `${title}: ${latest}` },
      [0, most / 2, most].map(value => [
        h('line', { class: 'grid', x1: left, x2: width - right, y1: y(value), y2: y(value) }),
        h('text', { x: left - 6, y: y(value) + 4, 'text-anchor': 'end' }, number(round(value))),
      ]),
      h('text', { x: left, y: height - 4 }, `${Math.round(count * seconds / 60)} min ago`),
      h('text', { x: width - right, y: height - 4, 'text-anchor': 'end' }, 'now'),
      series.map((one, i) => lines(one.values).map(points =>
        h('polyline', { class: `line s${i}`, points: points.map(([j, value]) => `${x(j)},${y(value)}`).join(' ') },
          h('title', {}, one.name))))));
}

// The parts of a series between its missing values.
function lines(values) {
  const parts = [[]];
  values.forEach((value, i) => value === null ? parts.push([]) : parts.at(-1).push([i, value]));
  return parts.filter(part => part.length > 0);
}

// The next of 1, 2, 5, 10, 20, … so that the scale doesn't move with each refresh.
function ceiling(value) {
  if (value <= 1) { return 1; }
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map(step => step * power).find(step => step >= value);
}

const round = value => value >= 100 ? Math.round(value) : Math.round(value * 100) / 100;
